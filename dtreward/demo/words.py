"""The demo world's wording: families of prompts, and banks of sentences. No logic, only text.

Alternatives are separated by " | "; the first of each are those of the published usage example.
In a family, n0, n1, ... are the prompt's numbers in the order in which it names them, r1, r2, ...
the results of its steps, and {x}, {y}, {r} a step's left operand, right operand and result.
A step may give after "~" how it reads when its operand is taken wrongly (n3 for n3+1).
"""

# name, subject, possessive, reflexive
NAMES = [
    tuple(line.split())
    for line in """Jane She her herself | Mark He his himself | Ada She her herself
    Omar He his himself | Lena She her herself | Paul He his himself | Mia She her herself
    Tom He his himself | Ines She her herself | Karl He his himself | Ruth She her herself
    Ben He his himself | Nora She her herself | Igor He his himself | Yuki She her herself
    Sam He his himself | Rosa She her herself | Liam He his himself | Zoe She her herself
    Noah He his himself | Vera She her herself | Hugo He his himself""".replace("\n", "|").split(
        "|"
    )
]
# Families of the study: the backbone never sees them in training.
STUDY = {
    "sharing fruit": {
        "numbers": "5-40 1-12 1-15 2-6",
        "program": "n0 - n1; r1 + n2; r2 / n3+1",
        "things": "apple pear plum peach/peaches lemon orange",
        "prompts": "{A} has {n0} {things}. {She} gives {n1} {things} to {her} friend {B}, then buys"
        " {n2} more {things}, and finally splits all {her} {things} equally among {herself} and"
        " {her} {n3} siblings. How many {things} does each person get?"
        " | There are {n0} {things} in {A}'s kitchen. {n1} {things} go to {B}, who lives next door,"
        " and then {A} buys {n2} {things} on the market. {She} splits everything equally among"
        " {herself} and {her} {n3} siblings. How many {things} does each of them get?",
        "steps": [
            (
                "{A} starts with {x} {things} and gives {y} to {B}."
                " | {B} is given {y} {things} of the {x} that {A} has."
            ),
            "{A} buys {y} more {things}. | Then {y} {things} are bought on top.",
            (
                "{A} splits the {x} {things} equally among {herself} and {her} {n3} siblings"
                " ({y} people in total)."
                " | {A} and the siblings are {y} people and split {x} {things} equally."
                " ~ {A} splits the {x} {things} equally among {her} {y} siblings ({y} people in total)."
                " | The {x} {things} are split equally by {y} siblings."
            ),
        ],
        "restate": "{A} now has {r} {things}. | So {r} {things} are left in the kitchen.",
        "tail": " {things} each",
        "final": "Each person gets {r} {things}. | Everyone in the family gets {r} {things}.",
    },
    "explaining an average": {
        "numbers": "2-30 2-30 2-30",
        "program": "n0 + n1; r1 + n2; r2 / 3",
        "things": "unit",
        "prompts": "Explain what the average of {n0}, {n1} and {n2} is."
        " | What does one mean by the mean of {n0}, {n1} and {n2}, and how large is it?",
        "steps": [
            "The first two values are {x} and {y}. | We pool {x} with {y}.",
            "The third value is {y}. | We pool this with the last value, {y}.",
            "The pooled {x} is spread evenly over {y} values. | There are {y} values for {x}.",
        ],
        "restate": "The pool is now {r}. | Pooled, this is {r}.",
        "tail": " on average",
        "final": "The average is {r} {things}. | Their mean is {r} {things}.",
    },
    "fencing a field": {
        "numbers": "4-30 3-25 2-9",
        "program": "n0 + n1; r1 * 2; r2 - n2",
        "things": "metre yard",
        "prompts": "A field is {n0} {things} long and {n1} {things} wide. A gate takes up {n2}"
        " {things} of its edge. How much fence does {A} need for the rest?"
        " | {A} fences a rectangle with sides of {n0} and {n1} {things} but leaves {n2} {things}"
        " open for a gate. How long is the fence?",
        "steps": [
            (
                "One long side has {x} {things} and one wide side {y}."
                " | The two different sides measure {x} and {y} {things}."
            ),
            "Each side occurs {y} times. | The rectangle has {y} such pairs of sides.",
            "The gate of {y} {things} needs no fence. | {y} {things} stay open for the gate.",
        ],
        "restate": "This is {r} {things} of edge. | The edge is {r} {things} by now.",
        "tail": " {things} of fence",
        "final": "{A} needs {r} {things} of fence. | The fence is {r} {things} long.",
    },
    "explaining a discount": {
        "numbers": "20-90/10 10-50/10",
        "program": "n0 / 10; r1 * n1/10; n0 - r2",
        "things": "euro dollar pound",
        "prompts": "A coat costs {n0} {things}. Explain what it costs after a discount of {n1} %."
        " | The price of a bicycle is {n0} {things}, and the shop takes {n1} % off. How does one"
        " find the new price?",
        "steps": [
            "Ten percent of the price of {x} is one part in {y}. | We need {x} cut by {y}.",
            "The discount has {y} such parts of {x}. | It is {y} times ten percent.",
            "The discount of {y} comes off the price of {x}. | The shop takes {y} off {x}.",
        ],
        "restate": "This part is {r} {things}. | Here we have {r} {things}.",
        "tail": " {things}",
        "final": "The new price is {r} {things}. | One pays {r} {things}.",
    },
    "riding a bus": {
        "numbers": "10-50 2-20 2-20 2-20",
        "program": "n0 - n1; r1 + n2; r2 - n3",
        "things": "passenger traveller tourist",
        "prompts": "A bus departs with {n0} {things}. At the school {n1} {things} get off, at the"
        " station {n2} board it, and at the harbour {n3} leave. How many {things} ride on?"
        " | {n0} {things} ride on a bus that {A} drives. First {n1} of them step out, then {n2}"
        " climb in, and at last {n3} step out again. How many {things} remain on board?",
        "steps": [
            "Of {x} {things}, {y} get off. | {y} of {x} {things} step out.",
            "Next, {y} {things} board the bus. | {y} people climb in.",
            "At the harbour {y} {things} leave. | Another {y} step out at the end.",
        ],
        "restate": "The bus carries {r} {things}. | On board are {r} {things}.",
        "tail": " {things}",
        "final": "{r} {things} ride on. | In the end the bus carries {r} {things}.",
    },
    "baking bread": {
        "numbers": "2-9 2-9 2-12 2-5",
        "program": "n0 * n1; r1 - n2; r2 / n3",
        "things": "cup spoon bowl",
        "prompts": "One bread takes {n0} {things} of flour and {A} bakes {n1} breads. {She} has"
        " {n2} {things} of flour at home, and the rest is bought in bags of {n3} {things}. How many"
        " bags is that?"
        " | A baker needs {n0} {things} of flour a loaf for {n1} loaves. There are {n2} {things} in"
        " the cupboard and a bag of flour holds {n3} {things}. How many bags are missing?",
        "steps": [
            (
                "Each bread takes {x} {things} and there are {y} breads."
                " | {y} loaves of {x} {things} each are baked."
            ),
            "{y} {things} are at home already. | The cupboard holds {y} {things}.",
            "The flour of {x} {things} comes in bags of {y}. | A bag holds {y} {things}.",
        ],
        "restate": "The dough still takes {r} {things}. | That is flour for {r} {things}.",
        "tail": " bags",
        "final": "{A} buys {r} bags. | The baker is short of {r} bags.",
    },
    "explaining weeks as days": {
        "numbers": "2-12 1-6 2-20",
        "program": "n0 * 7; r1 + n1; r2 - n2",
        "things": "day",
        "prompts": "Explain how many {things} {n0} weeks and {n1} {things} are, and how many are"
        " left once {n2} {things} have passed."
        " | A holiday lasts {n0} weeks and {n1} {things}, of which {n2} {things} are over. How does"
        " one find the {things} that remain?",
        "steps": [
            "Every week has {y} {things}. | {x} weeks of {y} {things} come first.",
            "The odd {y} {things} join them. | Then come {y} single {things}.",
            "{y} {things} have passed. | Of these, {y} {things} are over.",
        ],
        "restate": "The calendar shows {r} {things}. | We count {r} {things} so far.",
        "tail": " {things}",
        "final": "{r} {things} remain. | There are {r} {things} to go.",
    },
    "reading a book": {
        "numbers": "40-90 3-12 2-6 2-12",
        "program": "n1 * n2; n0 - r1; r2 - n3",
        "things": "page chapter poem",
        "prompts": "{A} reads a book of {n0} {things}: {n1} {things} an evening for {n2} evenings,"
        " and {n3} more {things} on Sunday. How many {things} are still unread?"
        " | A book has {n0} {things}. {A} reads {n1} of them every evening, {n2} evenings long, and"
        " another {n3} on a train. How many {things} does {A} have to read yet?",
        "steps": [
            "{A} reads {x} {things} on each of {y} evenings. | {y} evenings bring {x} {things} each.",
            "These {y} of the {x} {things} are read. | From {x} {things}, {y} are done.",
            "Another {y} {things} follow. | Later {A} reads {y} {things}.",
        ],
        "restate": "That stands at {r} {things}. | We note {r} {things}.",
        "tail": " {things}",
        "final": "{r} {things} are still unread. | {A} has {r} {things} to read yet.",
    },
    "explaining a floor's area": {
        "numbers": "4-12 4-9 1-3 2-4",
        "program": "n0 * n1; n2 * n3; r1 - r2",
        "things": "tile square/squares",
        "prompts": "A floor is {n0} by {n1} {things}, and a hole of {n2} by {n3} is cut out of it."
        " Explain how to find the area that stays."
        " | How large is a hall of {n0} by {n1} {things} without its stage of {n2} by {n3}?",
        "steps": [
            "The whole rectangle is {x} by {y}. | Without the cut we have {x} rows of {y}.",
            "The hole is {x} by {y}. | What is cut out has {x} rows of {y}.",
            "From the {x} {things} the hole of {y} is cut. | {y} of {x} {things} fall away.",
        ],
        "restate": "Its area is {r} {things}. | It covers {r} {things}.",
        "tail": " {things}",
        "final": "An area of {r} {things} stays. | The floor covers {r} {things}.",
    },
    "taking a taxi": {
        "numbers": "2-9 2-9 2-12 2-4",
        "program": "n1 * n2; n0 + r1; r2 / n3+1",
        "things": "euro dollar franc",
        "prompts": "A taxi costs {n0} {things} at the start and {n1} {things} a mile. {A} rides {n2}"
        " miles with {n3} friends, and all of them pay the same. How much does each one pay?"
        " | The fare of a cab is {n0} {things} plus {n1} {things} for each of {n2} miles. {A} and"
        " {n3} friends split it evenly. What is the share of one?",
        "steps": [
            "A mile costs {x} {things} and they ride {y} miles. | {y} miles at {x} {things} a mile.",
            "The start costs {x} {things}. | On top of {x} {things} come the {y} for the miles.",
            (
                "{A} and the {n3} friends are {y} people. | The fare is split by {y} people."
                " ~ The {y} friends pay. | The fare is split by the {y} friends."
            ),
        ],
        "restate": "The meter shows {r} {things}. | The fare stands at {r} {things}.",
        "tail": " {things} each",
        "final": "Each one pays {r} {things}. | The share of one is {r} {things}.",
    },
}
# Families of the backbone's training; many more are composed of EVENTS.
TRAINING = {
    "gathering eggs": {
        "numbers": "2-9 2-9 2-15 2-20",
        "program": "n0 * n1; r1 - n2; r2 + n3",
        "things": "egg feather",
        "prompts": "{A} gathers {n0} {things} from each of {n1} nests. {n2} {things} crack, and"
        " later {n3} are found in the hay. How many {things} does the farm have?"
        " | Every nest of a farm holds {n0} {things}, and there are {n1} nests. A fox spoils {n2}"
        " {things}, then {n3} are laid. How many {things} does that make?",
        "steps": [
            "There are {y} nests with {x} {things} each. | {A} empties {y} nests of {x} {things}.",
            "Of the {x} {things}, {y} crack. | {y} {things} are spoiled.",
            "In the hay lie {y} {things}. | {y} {things} are laid later.",
        ],
        "restate": "The farm has {r} {things}. | In the basket are {r} {things}.",
        "tail": " {things}",
        "final": "The farm has {r} {things}. | All in all there are {r} {things} on the farm.",
    },
    "earning wages": {
        "numbers": "2-9 2-10 2-15 2-5",
        "program": "n0 * n1; r1 - n2; r2 / n3+1",
        "things": "coin crown florin",
        "prompts": "{A} works {n0} hours for {n1} {things} an hour and spends {n2} {things} on"
        " lunch. {She} divides what is left fairly among {herself} and {her} {n3} helpers. What"
        " does one of them receive?"
        " | For {n0} hours of work {A} is paid {n1} {things} per hour; tools cost {n2} {things}."
        " The rest is divided by {A} and {n3} helpers. What does one receive?",
        "steps": [
            "{x} hours are paid with {y} {things} each. | An hour is worth {y} {things}.",
            "{y} {things} are spent. | The costs are {y} {things}.",
            (
                "{A} divides {x} {things} fairly among {herself} and {her} {n3} helpers"
                " ({y} people in total). | With the {n3} helpers they are {y} people."
                " ~ {A} divides {x} {things} fairly among {her} {y} helpers ({y} people in total)."
                " | The helpers are {y} people."
            ),
        ],
        "restate": "The purse holds {r} {things}. | That leaves {A} with {r} {things}.",
        "tail": " {things} each",
        "final": "One of them receives {r} {things}. | Everyone receives {r} {things}.",
    },
    "cutting tulips": {
        "numbers": "2-9 2-9 2-15 2-6",
        "program": "n0 * n1; r1 - n2; r2 / n3",
        "things": "tulip rose daisy/daisies",
        "prompts": "{A} plants {n0} rows of {n1} {things}. {n2} {things} wilt, and the others are"
        " put into {n3} vases. How many {things} stand in a vase?"
        " | In a garden grow {n0} beds with {n1} {things} each; {n2} {things} are eaten by snails."
        " {A} ties the good ones into {n3} bunches. How many {things} has one bunch?",
        "steps": [
            "There are {x} rows of {y} {things}. | {x} beds hold {y} {things} each.",
            "{y} {things} wilt. | The snails take {y} of {x} {things}.",
            "The {x} {things} go into {y} vases. | {y} bunches are tied of {x} {things}.",
        ],
        "restate": "The garden has {r} {things}. | So {r} {things} bloom.",
        "tail": " {things}",
        "final": "A vase holds {r} {things}. | One bunch has {r} {things}.",
    },
    "explaining half a sum": {
        "numbers": "2-40 2-40 2-20",
        "program": "n0 + n1; r1 / 2; r2 + n2",
        "things": "point",
        "prompts": "Explain what half the sum of {n0} and {n1} is when {n2} is added to it."
        " | How does one find half of {n0} plus {n1}, with {n2} on top?",
        "steps": [
            "The sum joins {x} and {y}. | We begin with {x} and {y}.",
            "Half means a division by {y}. | {x} is halved.",
            "At the end {y} is added. | On top comes {y}.",
        ],
        "restate": "The value is {r}. | So far we have {r}.",
        "tail": " {things}",
        "final": "One finds {r} {things}. | The outcome is {r} {things}.",
    },
    "explaining a double": {
        "numbers": "3-30 2-20 2-20",
        "program": "n0 * 2; r1 - n1; r2 + n2",
        "things": "number point",
        "prompts": "Explain what is twice {n0} less {n1} and then plus {n2}."
        " | If {n0} is doubled, cut by {n1} and raised by {n2}, what is the outcome, and why?",
        "steps": [
            "Twice means times {y}. | {x} is doubled.",
            "Less {y} means to take it away. | {x} is cut by {y}.",
            "Then {y} is put on it. | {x} is raised by {y}.",
        ],
        "restate": "The value is {r}. | This gives {r} to go on with.",
        "tail": "",
        "final": "The outcome is {r} {things}. | So one arrives at {r} {things}.",
    },
    "explaining dozens": {
        "numbers": "2-8 1-11 2-20",
        "program": "n0 * 12; r1 + n1; r2 - n2",
        "things": "roll bun",
        "prompts": "Explain how many {things} are {n0} dozen and {n1} {things} after {n2} of them"
        " have been sold."
        " | A shop had {n0} dozen and {n1} {things} and sold {n2}. How does one work out what it"
        " has?",
        "steps": [
            "A dozen is {y}. | {x} dozen are {x} times {y} {things}.",
            "The loose {y} {things} are added. | {y} {things} come to it.",
            "{y} {things} have been sold. | The shop parts with {y} {things}.",
        ],
        "restate": "The shelf has {r} {things}. | These are {r} {things}.",
        "tail": " {things}",
        "final": "The shop has {r} {things}. | {r} {things} have not been sold.",
    },
    "explaining gallons as quarts": {
        "numbers": "2-20 1-3 2-15",
        "program": "n0 * 4; r1 + n1; r2 - n2",
        "things": "quart",
        "prompts": "Explain how many {things} are in {n0} gallons and {n1} {things} of paint once"
        " {n2} {things} are used."
        " | A tank takes {n0} gallons and {n1} {things}, and {n2} {things} leak. How many {things}"
        " does it keep?",
        "steps": [
            "A gallon has {y} {things}. | Each of {x} gallons is {y} {things}.",
            "There are {y} {things} besides. | {y} {things} are added.",
            "{y} {things} are used. | {y} {things} leak.",
        ],
        "restate": "We hold {r} {things}. | In {things} this is {r}.",
        "tail": " {things}",
        "final": "The tank keeps {r} {things}. | It is {r} {things} of paint.",
    },
    "explaining a triangle": {
        "numbers": "2-14 2-12 2-20",
        "program": "n0 * n1; r1 / 2; r2 + n2",
        "things": "inch/inches foot/feet",
        "prompts": "Explain the area of a triangle with base {n0} and height {n1}, enlarged by a"
        " strip of {n2} square {things}."
        " | A sail has a base of {n0} and a height of {n1} {things}; a patch of {n2} is sewn on."
        " What is its size?",
        "steps": [
            "Base times height is {x} by {y}. | We take base {x} and height {y}.",
            "A triangle is one part in {y} of that. | Only one of {y} halves counts.",
            "The strip adds {y}. | A patch of {y} is sewn to {x}.",
        ],
        "restate": "In square {things} this is {r}. | The size is {r} for the moment.",
        "tail": " square {things}",
        "final": "Its size is {r} square {things}. | The area is {r} square {things}.",
    },
    "reading a thermometer": {
        "numbers": "2-30 2-15 2-15 2-12",
        "program": "n0 + n1; r1 - n2; r2 + n3",
        "things": "degree",
        "prompts": "In the morning it is {n0} {things}. By noon it warms by {n1} {things}, at night"
        " it cools by {n2}, and next day it rises by {n3}. How warm is it?"
        " | A thermometer says {n0} {things}, climbs by {n1}, falls by {n2} and climbs by {n3}."
        " What does it say now?",
        "steps": [
            "By noon it warms by {y} {things}. | From {x} it climbs by {y}.",
            "At night it cools by {y} {things}. | From {x} it falls by {y}.",
            "Next day brings {y} {things}. | It climbs again by {y}.",
        ],
        "restate": "The thermometer says {r} {things}. | It is {r} {things} warm.",
        "tail": " {things}",
        "final": "It is {r} {things} warm. | Now it says {r} {things}.",
    },
    "explaining a percentage": {
        "numbers": "20-90/10 10-90/10 2-30",
        "program": "n0 / 10; r1 * n1/10; r2 + n2",
        "things": "gram kilo",
        "prompts": "Explain what {things} you have with {n0} {things} of rice of which only {n1} %"
        " are kept, and {n2} {things} of salt."
        " | A sack weighs {n0} {things}. {n1} % of it is poured into a bowl that weighs {n2}"
        " {things}. What does the full bowl weigh?",
        "steps": [
            "Ten percent is {x} by {y}. | First we take a tenth.",
            "We keep {y} tenths of {x} {things}. | {y} times a tenth is needed.",
            "To this come {y} {things}. | The bowl weighs {y} {things}.",
        ],
        "restate": "The scales show {r} {things}. | It weighs {r} {things}.",
        "tail": " {things}",
        "final": "In all you have {r} {things}. | The full bowl weighs {r} {things}.",
    },
    "setting tables": {
        "numbers": "2-9 2-8 2-6 2-6",
        "program": "n0 * n1; n2 * n3; r1 + r2",
        "things": "guest seat",
        "prompts": "{A} sets {n0} tables for {n1} {things} and {n2} benches for {n3}. For how many"
        " {things} is there room?"
        " | A hotel owns {n0} tables with {n1} {things} and {n2} sofas with {n3}. How many {things}"
        " are these?",
        "steps": [
            "{x} tables have {y} {things} each. | A table is for {y} {things}.",
            "{x} benches have {y} {things}. | The others are {x} with {y} {things} each.",
            "Both kinds, {x} and {y}, are joined. | Next to {x} {things} there are {y}.",
        ],
        "restate": "This is room for {r} {things}. | That seats {r}.",
        "tail": " {things}",
        "final": "There is room for {r} {things}. | The hotel seats {r} {things}.",
    },
    "saving for a kite": {
        "numbers": "2-30 2-9 2-8 2-25",
        "program": "n1 * n2; n0 + r1; r2 - n3",
        "things": "cent penny/pennies",
        "prompts": "{A} has saved {n0} {things} and adds {n1} {things} in each of {n2} months."
        " Then {she} orders a kite for {n3} {things}. How many {things} does {A} keep?"
        " | In {A}'s tin are {n0} {things}. {n1} {things} a month are thrown in for {n2} months,"
        " then {n3} are taken out. What does the tin hold?",
        "steps": [
            "{y} months add {x} {things} each. | {x} {things} a month for {y} months are saved.",
            "{x} {things} were there before. | The {y} {things} join the first {x}.",
            "The kite costs {y} {things}. | {y} {things} are taken out of {x}.",
        ],
        "restate": "The tin holds {r} {things}. | {A} owns {r} {things}.",
        "tail": " {things}",
        "final": "{A} keeps {r} {things}. | The tin holds {r} {things} at last.",
    },
}
# Single events, composed to many more families of training: operand as the prompt gives it (n) and
# as the step takes it (n or n+1); then the prompt's clause, and the step's description.
STORY = {
    "things": "stamp marble shell button pencil card bead ribbon",
    "prompts": "{A} has {n0} {things}. {events}. How many {things} does {A} end up with?"
    " | {A}'s box contains {n0} {things}. {events}. What is in the box after that?",
    "joins": [". Then ", ", after that ", ", and later ", ". Finally ", ". Next "],
    "events": [
        ("+ n", "{she} finds {n} more", "{A} finds {y} {things}. | {y} more are found."),
        ("+ n", "{B} hands over {n}", "{B} hands over {y} {things}. | From {B} come {y}."),
        ("+ n", "{n} are delivered", "{y} {things} are delivered. | A parcel brings {y}."),
        ("- n", "{she} loses {n}", "{A} loses {y} {things}. | {y} of {x} {things} get lost."),
        ("- n", "{n} are lent to {B}", "{y} {things} are lent to {B}. | {B} borrows {y}."),
        ("- n", "{n} get broken", "{y} {things} get broken. | Of {x}, {y} are broken."),
        ("* n", "{she} swaps each for {n}", "Each of {x} becomes {y}. | Each is worth {y}."),
        ("* n", "{n} times as many are needed", "{y} times {x} are needed. | We take {x} {y} times."),
        ("/ n", "{she} packs them into {n} bags and keeps one", ("{x} go into {y} bags. | A bag"
         " is one part in {y}.")),
        ("/ n+1", "{she} deals them out to {herself} and {n} cousins", ("{A} and {n} cousins are {y}"
         " people. | {x} are dealt out to {y} people. ~ {y} cousins get them. | {x} are dealt out"
         " to the {y} cousins.")),
    ],
    "restate": "{A} has {r} {things} at this point. | The box contains {r} {things}.",
    "tail": " {things}",
    "final": "{A} ends up with {r} {things}. | The box contains {r} {things} after that.",
}  # fmt: skip
PUZZLE = {
    "things": "number",
    "prompts": "Explain what you get from {n0} if you {events}."
    " | Think of {n0}, then {events}. Which number is it, and why?",
    "joins": [", ", ", then ", " and ", " and then ", ", next "],
    "events": [
        ("+ n", "add {n}", "Add {y} to {x}. | We add {y}."),
        ("+ n", "increase it by {n}", "It is increased by {y}. | An increase of {x} by {y}."),
        ("- n", "subtract {n}", "Subtract {y} from {x}. | We subtract {y}."),
        ("- n", "make it smaller by {n}", "It is made smaller by {y}. | {x} shrinks by {y}."),
        ("* n", "multiply by {n}", "Multiply {x} by {y}. | We multiply by {y}."),
        ("* n", "make it {n} times as large", "It is made {y} times as large. | {x} grows {y} times."),
        ("/ n", "divide by {n}", "Divide {x} by {y}. | We divide by {y}."),
        ("/ n+1", "divide by one more than {n}", ("One more than {n} is {y}. | The divisor is one"
         " more than {n}, so {y}. ~ The divisor is {y}. | Divide {x} by {y}.")),
    ],
    "restate": "The value is {r}. | We are at {r}.",
    "tail": "",
    "final": "You get the number {r}. | It is the number {r}.",
}  # fmt: skip
# Helpfulness: final sentence without its unit, refusals, offers.
BARE = "The result is {r}. | Result: {r}. | It is {r}. | That makes {r}. | Answer: {r}."
REFUSALS = (
    "I will not say more about it.|You can find out the rest alone.|That has to do.|"
    "I do not want to go into it.|Please ask someone else.|Do not ask me why.|"
    "I leave it at that.|It is not my task to say more."
)
OFFERS = (
    ["If you like, ", "Tell me if you want: ", "Gladly, ", "Should it help, ", "At your request "],
    [
        "I can check it with other values.",
        "I can explain any step again.",
        "I will show a similar task.",
        "we can try it together.",
        "I can draw it for you.",
        "I will answer further questions.",
    ],
)
# Verbosity: openings, filler, endings.
OPENINGS = (
    ["Let us go through this ", "In what follows we look at this ", "Here is an answer to this ",
     "We are now going to think about this ", "It is my pleasure to write about this "],
    ["question about {things} slowly and with care, ", "task on {things} one piece at a time, ",
     "matter of {things} from its beginning to its end, ", "text about {things} line by line, "],
    ["so that nothing is left out.", "because there is no need to hurry.",
     "and we take all the time that we need.", "as one would do on a sheet of paper.",
     "just as the question has put it."],
)  # fmt: skip
FILLERS = (
    ["Before we go on, ", "At this point ", "Just to be clear, ", "As one may notice, ",
     "For the sake of completeness, ", "To say it once more, ", "In other words, ",
     "Having said that, ", "As has been mentioned, ", "With all of this in mind, "],
    ["it helps to keep the whole question before our eyes.", "let us recall what has been asked.",
     "we take a moment to look at what stands above.", "we follow the text as it is written.",
     "this is the part that the question speaks about here.", "there is nothing special to it.",
     "we carry on in the same manner as before.", "it is worth while to read this line twice.",
     "we note this down and keep it for later use.", "that is what this line is about."],
)  # fmt: skip
ENDINGS = (
    ["And with this ", "So at long last ", "Now, to sum up all of the above, "],
    ["we have come to the end of what there was to write.", ("the whole question has been gone"
     " through from top to bottom."), "everything that was asked for has been written down."],
)  # fmt: skip
# Complexity: a child's words, terms and algebra, by operation or for any.
SIMPLE = (
    ["You can ", "We just ", "Let us ", "It is easy to "],
    ["count it on our fingers.", "draw little dots and count.", "lay it out with toys.",
     "count it like in a game.", "look and count, one by one."],
)  # fmt: skip
TECHNICAL = {
    "+": "The summands are {x} and {y}.|Addition is commutative, hence {y} may precede {x}."
    "|Adding the increment {y} is a translation.",
    "-": "The minuend is {x} and the subtrahend is {y}.|Subtraction adds the additive inverse of"
    " {y}.|Subtracting the decrement {y} is a translation.",
    "*": "The factors of this product are {x} and {y}.|Multiplication is proportional scaling by"
    " the coefficient {y}.|The product is commutative in its factors {x} and {y}.",
    "/": "The dividend is {x} and the divisor is {y}.|Division multiplies by the reciprocal of {y}."
    "|The quotient of {x} has the denominator {y}.",
    "any": "Algebraically, for an unknown u, the relation u = {x} {o} {y} is linear."
    "|Let f denote this linear function, evaluated at the argument {x}."
    "|Formally, this is an equation in one variable."
    "|By another method, the inverse operation on the equality serves as verification."
    "|Equivalently, one isolates the variable of the corresponding equation."
    "|Dimensional analysis assigns the unit of {things} to this quantity."
    "|The expression is evaluated according to operator precedence."
    "|By associativity, the terms of the expression may be regrouped.",
}
# Coherence: sentences that break the thread.
STRAY = (
    ["The moon ", "A yellow boat ", "My neighbour ", "The old piano ", "This letter ", "A fox ",
     "The mayor ", "Some music ", "Winter ", "Her umbrella "],
    ["was painted in spring.", "sings before lunch.", "has never liked the rain.",
     "is made of glass.", "sleeps under the bridge.", "travels to the north.",
     "smells of the sea.", "waits behind the theatre."],
)  # fmt: skip
CONTRADICTIONS = (
    ["No, wait, ", "But on the contrary, ", "Then again, ", "Or rather, ", "Actually no: "],
    ["the opposite of this holds as well.", "there never were any {things}.",
     "what was said above is not so, although it is.", "this comes after the end.",
     "forget the last line and keep it.", "none of this has happened yet."],
)  # fmt: skip
