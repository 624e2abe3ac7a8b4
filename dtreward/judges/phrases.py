"""How judges say in several languages which response is better, and that they decline to say it."""

from __future__ import annotations

from typing import NamedTuple


class Phrases(NamedTuple):
    """The words of one language, each a regular expression; "" where a language has no such form.

    Attributes:
        noun: what stands before the letter, "response".
        after: what stands behind the letter and belongs to it, a case ending or "response".
        better: says of the letter before it that it is the better one.
        choose: stands before the letter that is chosen.
        chosen: stands behind the letter that is chosen.
        label: stands before a colon and the letter: "verdict".
        best: stands before "is", or a colon, and the letter: "the better response".
        denied: between the letter and `better`, takes the verdict back: "not".
        refusal: declines to judge.
    """

    noun: str
    better: str
    choose: str = ""
    label: str = ""
    best: str = ""
    denied: str = ""
    refusal: str = ""
    after: str = ""
    chosen: str = ""


GERMAN = Phrases(
    noun="antwort|option|variante|assistent",
    better="besser|die bessere|überlegen|vorzuziehen|die beste|gewinnt|übertrifft",
    choose="ich (?:bevorzuge|wähle|favorisiere|entscheide mich für|würde)|meine wahl (?:ist|fällt auf)",
    label="urteil|endurteil|ergebnis|entscheidung|fazit|gewinner|wahl|endgültige antwort",
    best="die bessere antwort|die beste antwort|besser ist|der gewinner",
    denied="nicht|kaum|weder",
    refusal=(
        "tut mir (?:sehr )?leid|entschuldigung|bedau(?:re|erlicherweise)|"
        "kann (?:ich )?(?:\\w+ ){0,4}nicht (?:helfen|vergleichen|bewerten|beurteilen)|als ki"
    ),
)
FRENCH = Phrases(
    noun="réponse|option|assistant",
    better="meilleure?|supérieure?|préférable|l'emporte|surpasse",
    choose="je (?:choisis|préfère|sélectionne|retiens|penche pour|vote pour|choisirais)|mon choix (?:est|se porte sur)",
    label="verdict|choix|conclusion|gagnante?|réponse finale|décision|verdict final",
    best="la meilleure(?: réponse)?|la réponse préférée|le gagnant",
    denied="n'est pas|pas|guère|ni",
    refusal="je suis (?:vraiment )?désolée?|désolée?|je ne (?:peux|suis) pas|je regrette|en tant qu'ia",
)
SPANISH = Phrases(
    noun="respuesta|opción|asistente",
    better="mejor|superior|preferible|gana|supera",
    choose="prefiero|elijo|escojo|elegiría|selecciono|me quedo con|opto por|mi elección es",
    label="veredicto|elección|ganadora?|respuesta final|decisión|conclusión|veredicto final",
    best="la mejor(?: respuesta)?|la respuesta preferida|el ganador",
    denied="no|tampoco|ni",
    refusal="lo siento|lamento|no puedo|disculpa|como (?:modelo|ia)",
)
PORTUGUESE = Phrases(
    noun="resposta|opção|assistente",
    better="melhor|superior|preferível|vence|supera",
    choose="prefiro|escolho|escolheria|seleciono|fico com|opto pel[ao]|minha escolha é",
    label="veredi(?:c)?to|escolha|vencedora?|resposta final|decisão|conclusão",
    best="a melhor(?: resposta)?|a resposta preferida|o vencedor",
    denied="não|nem|tampouco",
    refusal="desculpe|sinto muito|lamento|não posso|infelizmente",
)
ITALIAN = Phrases(
    noun="risposta|opzione|assistente",
    better="migliore|superiore|preferibile|vince|supera",
    choose="preferisco|scelgo|sceglierei|seleziono|opto per|la mia scelta è",
    label="verdetto|scelta|vincitore|vincitrice|risposta finale|decisione|conclusione",
    best="la migliore|la risposta (?:migliore|preferita)|la migliore risposta|il vincitore",
    denied="non|né",
    refusal="mi dispiace|purtroppo|spiacente|non posso|scusa",
)
RUSSIAN = Phrases(
    noun="ответ|вариант|ассистент",
    better="лучше|лучший|лучшим|предпочтительнее|превосходит|побеждает|выигрывает",
    choose="выбираю|предпочитаю|выбрал бы|я за|мой выбор",
    label="вердикт|итог|вывод|выбор|победитель|решение|лучший ответ|окончательный ответ",
    best="лучший ответ|лучшим (?:ответом )?является|лучше",
    denied="не|хуже|ничем",
    refusal="извините|к сожалению|прошу прощения|я не могу|простите|сожалею",
)
POLISH = Phrases(
    noun="odpowiedź|opcja|asystent",
    better="lepsz[aey]|najlepsz[aey]|wygrywa|przewyższa",
    choose="wybieram|preferuję|wybrał(?:bym|abym)|mój wybór to",
    label="werdykt|wybór|zwycięzca|wniosek|decyzja|ostateczna odpowiedź",
    best="lepsza odpowiedź(?: to)?|lepsza jest|zwycięzca",
    denied="nie|ani",
    refusal="przykro mi|przepraszam|niestety|nie mogę",
)
DUTCH = Phrases(
    noun="antwoord|reactie|optie|assistent",
    better="beter|het betere|de betere|het beste|de beste|wint|overtreft",
    choose="ik (?:kies|verkies|prefereer)|mijn keuze is|voorkeur (?:aan|voor)|kies ik(?: voor)?",
    label="oordeel|keuze|conclusie|winnaar|beslissing|eindoordeel",
    best="het (?:betere|beste) antwoord|de betere reactie|de winnaar",
    denied="niet|geen|noch",
    refusal="het spijt me|sorry|helaas|ik kan (?:\\w+ ){0,4}niet",
)
TURKISH = Phrases(
    noun="yanıt|cevap|seçenek",
    after="yanıtı|cevabı|seçeneği|yanıt|cevap",
    better="daha iyi(?:dir)?|daha üstün(?:dür)?|daha başarılı(?:dır)?|en iyi(?:si)?(?:dir)?|kazan\\w*",
    choose="tercihim|seçimim",
    chosen="(?:tercih ed|seç)",
    label="karar|sonuç|kazanan|seçim|hüküm",
    best="(?:daha|en) iyi (?:yanıt|cevap)|kazanan",
    denied="değil",
    refusal="üzgünüm|maalesef|özür dilerim|yardımcı olamam",
)
VIETNAMESE = Phrases(
    noun="câu trả lời|phản hồi|đáp án|trả lời|phương án",
    better="tốt hơn|hay hơn|vượt trội|tốt nhất|chiến thắng",
    choose="tôi chọn|tôi thích|lựa chọn của tôi là|chọn",
    label="kết luận|phán quyết|lựa chọn|quyết định|đáp án",
    best="câu trả lời tốt (?:hơn|nhất)(?: là)?",
    denied="không",
    refusal="xin lỗi|rất tiếc|tôi không thể",
)
INDONESIAN = Phrases(
    noun="jawaban|respons|tanggapan|pilihan",
    better="lebih baik|terbaik|lebih unggul|menang",
    choose="saya (?:memilih|pilih|lebih suka)|pilihan saya(?: adalah)?",
    label="putusan|kesimpulan|pilihan|pemenang|keputusan|jawaban akhir",
    best="(?:jawaban|respons) (?:yang )?(?:lebih baik|terbaik)(?: adalah)?|pemenangnya(?: adalah)?",
    denied="tidak|bukan",
    refusal="maaf|mohon maaf|saya tidak (?:bisa|dapat)",
)
CHINESE = Phrases(
    noun="回答|回复|回覆|答案|回应|回應|选项|選項|助手|模型|响应",
    after="的回答|的回复|的答案",
    better="更好|更优|更優|更佳|更胜一筹|较好|較好|较优|更合适|更为出色|胜出|勝出|获胜|优于|優於|最好|最佳|是更好的|更加?出色",
    choose="选择|選擇|我选|我選|更喜欢|倾向于|推荐|偏好|偏向|首选",
    label="选择|選擇|答案|结论|結論|判断|裁决|评判|结果|胜者|获胜者|判定|最终答案|更好的?(?:回答|回复)",
    best="更好的(?:回答|回复|答案|是)+|较好的(?:回答|是)+|胜者",
    denied="不|没有|並非|并非|未必",
    refusal="抱歉|对不起|對不起|很遗憾|我无法|我不能|無法",
)
JAPANESE = Phrases(
    noun="回答|応答|返答|選択肢|アシスタント",
    after="の方が|のほうが|の回答が|が|は",
    better="優れ|良い|よい|いい|良く|適切|好まし|勝|ベター",
    choose="選択は|私の選択は",
    chosen="を(?:選|推|支持)",
    label="結論|判定|最終判断|最終回答|選択|勝者|評価",
    best="(?:より|最も)(?:良い|よい|優れた)(?:回答|応答)は|勝者は",
    denied="ない|ません|とは",
    refusal="申し訳|すみません|お答えできません|できかねます|残念ながら",
)
KOREAN = Phrases(
    noun="응답|답변|선택지|어시스턴트",
    after="가|이|의 답변이|의 응답이|는|은|쪽이|번이",
    better="더 좋|더 낫|더 나은|더 우수|더 뛰어|더 훌륭|우수|뛰어|낫습니다|더 적절|좋습니다",
    choose="제 선택은|저는",
    chosen="(?:를|을) (?:선택|선호|고르)",
    label="결론|판정|최종 판정|최종 답변?|선택|승자|평가",
    best="더 (?:나은|좋은) (?:응답|답변)은|승자는",
    denied="않|아니|못",
    refusal="죄송|유감|도와드릴 수 없|할 수 없습니다",
)
ARABIC = Phrases(
    noun="الرد|الإجابة|الاستجابة|الجواب|رد|إجابة",
    better="أفضل|الأفضل|تتفوق|يتفوق",
    choose="أختار|اخترت|أفضّل|اختياري(?: هو)?",
    label="الحكم|النتيجة|الاختيار|الفائز|القرار|الخلاصة",
    best="(?:الرد|الإجابة|الاستجابة) الأفضل(?: هو| هي)?|الأفضل(?: هو| هي)",
    denied="ليس|ليست|لا",
    refusal="آسف|عذر|أعتذر|لا أستطيع|لا يمكنني",
)
HINDI = Phrases(
    noun="उत्तर|प्रतिक्रिया|जवाब|विकल्प",
    better="बेहतर|सर्वश्रेष्ठ|अधिक अच्छ|ज़्यादा अच्छ",
    choose="मैं चुनता हूँ|मेरी पसंद",
    chosen="को (?:चुन|पसंद)",
    label="निर्णय|निष्कर्ष|विजेता|फैसला|चयन",
    best="बेहतर (?:उत्तर|प्रतिक्रिया|जवाब)(?: है)?",
    denied="नहीं",
    refusal="क्षमा|माफ़|खेद|मैं नहीं कर सकत",
)
LANGUAGES = (
    *(GERMAN, FRENCH, SPANISH, PORTUGUESE, ITALIAN, RUSSIAN, POLISH, DUTCH, TURKISH),
    *(VIETNAMESE, INDONESIAN, CHINESE, JAPANESE, KOREAN, ARABIC, HINDI),
)
IS = r"(?:is|ist|est|es|é|è|jest|là|adalah|是|为|為|は|은|는|है|هو|هي|это|to|:|：|=|-|–|—)"

# What an English judge says. `{x}` stands for a letter with the noun before it.
ENGLISH_NOUN = "response|answer|assistant|option|choice|candidate|reply|model|output|completion"
ADVERBS = (
    r"(?:(?:clearly|slightly|much|far|definitely|marginally|significantly|still|simply|probably|"
    r"somewhat|overall|by far|obviously|certainly|generally|a bit|a little|indeed|ultimately|"
    r"considerably|therefore|thus|also|easily|arguably)[ ,]+){0,3}"
)
GOOD = "better|best|preferred|superior|stronger|preferable|winning|strongest"
THING = f"(?:{ENGLISH_NOUN}|one|pick|winner)"
# Behind "better": what lets it stand for the whole response, not for one side of it.
WHOLE = (
    rf"(?= ?(?:[.,;:!)\"\]|—–-]|$)|\s+(?:{THING}|of the (?:two|pair)|overall|here|than|because|since|"
    r"as (?:it|they|the)|due|and|for this|to|by|in (?:every|all|my)|than|given|\())"
)
ENGLISH = (
    (
        rf"{{x}} (?:is|was|seems|appears|looks|remains)(?: to be)? {ADVERBS}(?:the |my )?{ADVERBS}"
        rf"(?:{GOOD}){WHOLE}"
    ),
    rf"{{x}} {ADVERBS}(?:wins|beats|outperforms|surpasses|outshines|prevails|takes it|edges out)\b",
    rf"{{x}} is {ADVERBS}(?:the |our |my )?(?:clear |overall )?winner\b",
    rf"{{x}} {ADVERBS}(?:does|did) (?:a |the )?{ADVERBS}better(?: job)?\b",
    (
        rf"{{x}} {ADVERBS}(?:provides|gives|offers|has|is) (?:a |an |the )?{ADVERBS}"
        rf"(?:more \w+(?: and \w+)?|better)(?: \w+)? than (?:the )?(?:{ENGLISH_NOUN})? ?[AB]\b"
    ),
    (
        r"\bI(?:'d|'ll| would| will| do| must| have to)? (?:therefore |still |thus |slightly |strongly )?"
        r"(?:choose|prefer|pick|select|go (?:with|for)|favou?r|vote for|opt for|lean towards?|going with) {x}"
    ),
    (
        r"\b(?:my|the|our) (?:final |overall )?(?:pick|choice|preference|vote|verdict|answer|decision|"
        r"selection|winner)(?: here)? (?:is|would be|goes to|falls on|must be|has to be)\s*:?\s+{x}"
    ),
    (
        rf"\bthe (?:{GOOD}|chosen)(?: (?:of the two|overall))?(?: {THING})?"
        r"(?: of the two| overall| here)? (?:is|would be|has to be)\s*:?\s+{x}"
    ),
    rf"\bthe (?:more \w+|correct|right) {THING}(?: of the two| overall| here)? is\s*:?\s+{{x}}",
    rf"\bthe {THING} that (?:\w+ ){{0,4}}(?:better|best)\b[^.!?,;\n]{{0,40}}? is\s*:?\s+{{x}}",
    rf"{{x}} is the {THING} (?:that )?I(?:'d| would)? (?:prefer|choose|pick|favou?r|select)\b",
    r"(?:^|[.!?]\s+)(?:hence|thus|therefore|so)[,:]? {x}(?=\W*$)",
)
ENGLISH_LABEL = (
    r"(?:final |overall |my )?(?:verdict|answer|choice|decision|preference|winner|judge?ment|"
    r"conclusion|result|pick|vote|selection|choose|select|preferred|better|best|"
    rf"(?:{GOOD}|chosen|winning|selected) (?:{ENGLISH_NOUN}))"
)
# What a response is compared with, `{y}`, where it may stand before "better", and what stays of it.
VERSUS = (
    r"compared (?:to|with)|in comparison (?:to|with)|relative to|im vergleich (?:zur?|zum|mit)|"
    r"verglichen mit|gegenüber|par rapport à|comparée? à|en comparaison (?:de|à|avec)|"
    r"comparad[oa] (?:con|com|a|à)|en comparación con|frente a|respecto a|em comparação (?:com|a|à)|"
    r"em relação (?:a|à)|rispetto (?:alla|a)|in confronto (?:alla|a)|по сравнению с|в сравнении с|"
    r"w porównaniu (?:do|z)|vergeleken met|in vergelijking met|so với|dibanding(?:kan)?(?: dengan)?|"
    r"مقارنة (?:ب|مع)"
)
STANDARDS = (
    (rf",?\s*\b(?i:{VERSUS})\s*{{y}},?", ""),
    (
        r"(?:与|和|跟|同|相比|相较于|相较|比起)\s*{y}(?:的?回答|的?回复)?\s*相比(?:之下|较)?[，,]?",
        "",
    ),
    (r"(?:相比于?|相较于?|比起)\s*{y}[，,]?", ""),
    (r"(?<!不)比\s*{y}\s*(?:要|明显|显然|稍|略|来得)?好", "更好"),
    (r"(?<!不)比\s*{y}", ""),
    (r"{y}(?:の(?:回答|応答|方))?(?:より(?:も|は)?|(?:に|と)比べて?|(?:に|と)比較して)、?", ""),
    (r"{y}(?:의 (?:답변|응답)|쪽|번)?(?:보다(?:는|도)?|에 비해서?|(?:와|과) 비교(?:해|하면))", ""),
    (r",?\s*{y}'?(?:d[ae]n|t[ae]n)(?= daha)", ""),
    (r",?\s*{y} (?:yanıt|cevab|seçeneğ)[ıi]n(?:dan|den|a göre|a kıyasla|e göre)", ""),
    (r"{y} (?:से|की तुलना में|के मुकाबले)", ""),
)
# Before a verdict in its sentence: it is not said, but denied or doubted.
DENIES_THAT = (
    r"(?:(?:\bnot|n't|\bcannot) (?:\w+ly )?(?:think|believe|say|conclude|claim|agree|argue|feel|"
    r"see (?:how|why)|true|clear|convinced|certain|sure|obvious|evident|mean|suggest|imply|prove)\b|"
    r"\bno (?:evidence|reason|proof|sign|indication|way)\b|\b(?<!no )(?<!without )doubt(?: that)?\b|"
    r"\bhard to (?:say|argue|claim)\b|\bdisagree that\b|\bnicht, dass\b|\bniet dat\b|"
    r"\bne (?:\w+ ){1,2}pas qu|\bno (?:creo|pienso|considero|diría) que\b|"
    r"\bnão (?:acho|acredito|penso|creio|diria) que\b|\bnon (?:credo|penso|ritengo|direi) che\b|"
    r"\bне (?:думаю|считаю|верю|уверен|могу сказать), что\b|\bnie (?:sądzę|uważam|myślę), że\b|"
    r"不(?:认为|覺得|觉得|能说|同意))"
    r"(?!.*(?:[,，;]|\b(?:but|yet|so|therefore|hence|and)\b))"
)
# Behind a verdict in languages whose verb comes last.
DENIED_AFTER = (
    r"[^。.!?]{0,6}(?:とは(?:思|言|限|いえ)|と(?:思い|言い)ません|다고 (?:생각하지|할 수 없|보지))"
)
ENGLISH_REFUSAL = (
    r"^\W*(?:sorry\b|i'?m (?:really |very |so |truly )?sorry|as an ai\b|i apologi[sz]e|"
    r"my apologies|i can'?t\W*$|i cannot\W*$)"
    r"|\bi(?:'m| am)? ?(?:cannot|can'?t|can not|won'?t|will not|am unable|'?m unable|unable|"
    r"am not able|not able|not comfortable|do not feel comfortable|don't feel comfortable|"
    r"must (?:respectfully )?decline|have to decline|respectfully decline|decline|refuse|"
    r"would rather not|won't be able|would prefer not)"
    r"(?: to| be able to)?(?: \w+){0,2}? ?(?:help|assist|compare|comply|fulfil|engage|evaluat|judg|"
    r"rat(?:e|ing)\b|rank|provid|continu|process|discuss|respond|participat|do that|do this|support|"
    r"review|complet|offer|choos|answer|with\b)"
    r"|against (?:my|our|the) (?:guidelines|polic|content)|violates (?:my|our|the) "
)
