"""What real models are told: instructions and in-context examples for each chat task.

Small models that know a task by its name may ignore them.
"""

from __future__ import annotations

LIST = "List common {kind} that can be seen in a picture. Answer with names, separated by commas."
LIST_TOPICS = {
    "colors": "colors of objects",
    "shapes": "words for the shape of an object",
    "textures": "words for the texture or the material of an object",
    "relations": "spatial relations between two objects, in the plane and in depth,",
    "numbers": "small numbers of objects",
}
LIST_EXAMPLES = {
    "colors": "red, turquoise, white",
    "shapes": "round, square, oblong",
    "textures": "wooden, fluffy, metallic",
    "relations": "on the left of, on top of, behind",
    "numbers": "two, three, five",
}

WRITE = {
    "non_spatial": (
        "Write one sentence that describes a picture in which people, animals or things do "
        "something with each other. Use an action, not a position. Answer with the sentence alone."
    ),
    "complex": (
        "Write one sentence that describes a picture with several objects, each with its own "
        "attributes, and how they stand to each other. Answer with the sentence alone."
    ),
}
WRITE_EXAMPLES = {
    "non_spatial": (
        ("non_spatial", "A girl is feeding a parrot"),
        ("non_spatial", "Two chefs are tasting a soup"),
        ("non_spatial", "A dog is pulling a sledge"),
    ),
    "complex": (
        (
            "complex",
            "A tall glass vase stands on the right of a round wooden bowl with three green pears",
        ),
        ("complex", "The striped cat sleeps on a soft blue cushion behind two small cactuses"),
        ("complex", "A rusty bicycle leans against a yellow wall next to a square metal letterbox"),
    ),
}

DECOMPOSE = (
    "Split the description of a picture into its smallest parts: first every object with its "
    "attributes or number, then every relation between two objects. Write the parts in one line, "
    "separated by ' ; '."
)
DECOMPOSE_EXAMPLES = (
    (
        "a wooden spoon on the left of a blue cup",
        "a wooden spoon ; a blue cup ; the spoon is on the left of the cup",
    ),
    ("three lemons and one kettle", "three lemons ; one kettle"),
    ("a boy is flying a kite", "a boy ; a kite ; the boy is flying the kite"),
)

QUESTION = (
    "Turn the statement about a picture into a question that is answered by yes when the "
    "statement is true and by no when it is not. Answer with the question alone."
)
QUESTION_EXAMPLES = (
    ("a wooden spoon", "is there a wooden spoon?"),
    ("three lemons", "are there three lemons?"),
    ("the spoon is on the left of the cup", "is the spoon on the left of the cup?"),
)

REPHRASE = (
    "Say the description of a picture in other words. Keep every object, attribute, number and relation, "
    "and add nothing. Answer with one description alone."
)
REPHRASE_EXAMPLES = (
    ("a wooden spoon on the left of a blue cup", "to the left of a cup that is blue lies a spoon of wood"),
    ("three lemons and one kettle", "one kettle together with three lemons"),
    ("a boy is flying a kite", "a kite is flown by a boy"),
)

EXPLAIN = (
    "Explain the description of a picture to a painter: say the same with details that you imagine, such as "
    "colors, materials, sizes, places and light. Keep every object, attribute, number and relation. Answer "
    "with one description alone."
)
EXPLAIN_EXAMPLES = (
    (
        "a wooden spoon on the left of a blue cup",
        "a long wooden spoon lies on a pale table, on the left of a round blue cup in morning light",
    ),
    ("three lemons and one kettle", "three ripe lemons in a row and one shining steel kettle behind them"),
    ("a boy is flying a kite", "a boy in a red coat is flying a large kite over a windy green hill"),
)
