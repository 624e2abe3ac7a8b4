"""Single public data sets that come in a form of their own, one file each.

- `usr`: people's ratings of dialogue responses (USR, as UniEval publishes them)
- `pandalm`: three people's votes on pairs of answers (PandaLM)
- `llmbar`: pairs with a right answer, and what LLM judges said of them (LLMBar)
"""
