"""The generator ``general``: everyday requests without maths, each with a response in plain sentences.

Which of the two splits a request is of depends on its template and its words alone. There is no gold answer: the maths
component does not apply, and the checklist counts without its gate.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from string import Formatter
from typing import Any

from adhere.prompts.generators import data_generator
from adhere.prompts.word_problems import EVALUATION_SHARE, SPLITS
from adhere.rewards.errors import DataError, nearest

WORDS: dict[str, tuple[str, ...]] = {
    "dish": (
        "tomato soup", "rice pudding", "a fruit salad", "pancakes", "vegetable curry", "an omelette", "potato salad",
        "banana bread", "lentil stew", "apple pie", "a cheese sandwich", "mushroom pasta",
    ),
    "hobby": (
        "gardening", "playing the guitar", "swimming", "painting", "knitting", "running", "baking", "chess", "photography",
        "bird watching", "learning Italian", "pottery",
    ),
    "place": (
        "a quiet village", "the old harbour", "a busy market", "the city library", "a mountain hut", "a small island",
        "the railway station", "a botanical garden", "a desert town", "the school yard",
    ),
    "event": (
        "a birthday party", "a farewell lunch", "a class reunion", "a school concert", "a street festival",
        "a family picnic", "a book evening", "a wedding", "a charity run",
    ),
    "person": (
        "my neighbour", "my teacher", "a colleague", "my landlord", "my aunt", "an old friend", "the librarian",
        "my football coach", "our new flatmate", "my dentist",
    ),
    "thing": (
        "a bicycle", "a used car", "a pair of boots", "a garden shed", "a coffee machine", "a rucksack", "a winter coat",
        "a piano", "a camera", "a kitchen table",
    ),
    "topic": (
        "rainbows", "the seasons", "recycling", "sleep", "volcanoes", "the moon", "bees", "electricity", "tides",
        "photosynthesis", "glaciers", "the post office", "fermentation", "maps",
    ),
    "audience": ("a child", "a beginner", "my grandmother", "a visitor", "a sceptical friend", "a group of students"),
    "animal": ("a cat", "a dog", "a rabbit", "a parrot", "a goldfish", "a hamster", "a pony", "a tortoise"),
    "mood": ("happy", "calm", "mysterious", "funny", "hopeful", "melancholy", "exciting"),
    "trouble": (
        "a broken washing machine", "loud music at night", "a late parcel", "a lost library book", "a double booking",
        "a leaking tap", "a missed train", "a cold office",
    ),
    "season": ("spring", "summer", "autumn", "winter"),
}  # fmt: skip

REQUESTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("recipe", ("How do I make {dish}?", "Please explain how to prepare {dish} at home."),
     ("For {dish} you first put everything that you need on the table.", "Wash and cut what is fresh, and measure the rest.",
      "Then follow the order of the recipe and keep the heat low.", "Taste it before you serve it and add salt or sugar if it is needed.",
      "Let it rest for a moment so that the flavour can settle.")),
    ("start_hobby", ("I would like to take up {hobby}. How should I begin?", "Give me some advice for my first month of {hobby}."),
     ("Begin {hobby} with a small goal that you can reach in a week.", "Set a fixed time for it and keep the equipment simple.",
      "Look for a group or a class where others can help you.", "Write down what went well after each session.",
      "Do not compare yourself with people who have done it for years.")),
    ("describe_place", ("Describe {place} in {season}.", "Write a short description of {place} on a day in {season}."),
     ("In {season} the light falls softly on {place}.", "People pass by without hurry and greet each other.",
      "There is a smell of bread and wet stone in the air.", "A bell rings somewhere and a few birds fly up.",
      "Whoever comes here once will want to return.")),
    ("invitation", ("Write an invitation to {event} for {person}.", "I am planning {event}. Draft an invitation that I can send to {person}."),
     ("We are planning {event} and would love to have you with us.", "It starts in the afternoon and there will be plenty to eat.",
      "Bring a friend if you like and wear what feels comfortable.", "Tell us by the end of the week whether you can come.",
      "We look forward to seeing you.")),
    ("complaint", ("Write a polite message to {person} about {trouble}.", "How can I tell {person} about {trouble} without being rude?"),
     ("I am writing to you because of {trouble}.", "It has made the last few days rather difficult for me.",
      "Perhaps we can find a time to talk about it this week.", "I am sure that there is a simple way to put it right.",
      "Thank you for your help and your patience.")),
    ("explain", ("Explain {topic} to {audience}.", "What would you tell {audience} who asks about {topic}?"),
     ("The best way to understand {topic} is to look at what happens around us.", "Imagine that you watch it for the first time and take notes.",
      "One part causes the next and all of them belong together.", "People have studied this for a long time and still find new details.",
      "If you keep asking why you will soon know more than most.")),
    ("buying", ("What should I look for when I buy {thing}?", "Help me to choose {thing} that will last."),
     ("Before you buy {thing} think about how often you will use it.", "Try it out and look closely at the parts that wear first.",
      "Ask the seller about repairs and about the age of the model.", "A good price is of no use if the quality is poor.",
      "Sleep on it and decide the next day.")),
    ("story", ("Write a {mood} story about {animal} in {place}.", "Tell me a {mood} story in which {animal} comes to {place}."),
     ("Once there was {animal} that lived near {place}.", "Every morning it went out to see what had changed.",
      "One day it met a stranger who had lost the way.", "Together they walked along the wall until the lights came into view.",
      "From then on nobody in the area felt alone.")),
    ("pet", ("Is {animal} a good pet for a small flat?", "What does {animal} need to be well?"),
     ("It depends on the time that you have for {animal}.", "Food and water are easy to provide but company takes effort.",
      "A quiet corner and a daily routine help the animal to settle.", "Visit a vet once a year even if all seems fine.",
      "With some care it will be a friend for a long time.")),
    ("thanks", ("Write a thank-you note to {person} for help with {event}.", "I want to thank {person} for the help with {event}. What could I write?"),
     ("Thank you so much for your help with {event}.", "Without you it would not have been half as nice.",
      "You found a kind word for everybody and stayed until the end.", "I hope that I can do the same for you one day.",
      "Until then I send you my best wishes.")),
    ("weekend", ("Suggest a plan for a weekend in {place} in {season}.", "We have a free weekend in {season} and want to see {place}. What do you suggest?"),
     ("Arrive at {place} on Friday evening and take a slow walk.", "Keep Saturday morning free for the sights and have lunch outside.",
      "In the afternoon it is worth looking into the small shops.", "Sunday is a good day for a long breakfast and a last look around.",
      "Pack light because the weather in {season} can change.")),
    ("persuade", ("Convince {audience} that {hobby} is worth the time.", "Why should {audience} try {hobby}?"),
     ("There are good reasons to try {hobby} at any age.", "It clears the mind after a day full of screens.",
      "You meet people whom you would never have met at work.", "The first steps are cheap and the progress is easy to see.",
      "After a month you will wonder how you did without it.")),
    ("report", ("Summarise what happened with {trouble} for {person}.", "Write a brief report on {trouble} that {person} can read in a minute."),
     ("The report is about {trouble}.", "It was noticed early in the week and several people were affected.",
      "We asked those in charge and they promised to act soon.", "Until that is done a simple workaround is in place.",
      "A second report will follow when there is news.")),
    ("compare", ("Which is the better present, {thing} or {dish}?", "Compare {thing} with {dish} as a present for {person}."),
     ("Both {thing} and {dish} can be a lovely present.", "One of them lasts for years and the other is gone by the evening.",
      "The better choice depends on the taste and the space of the person.", "Something that you made yourself is always remembered.",
      "When in doubt ask a good friend of the person.")),
)  # fmt: skip


@data_generator("general")
def general(size: int, seed: int, split: str = "train") -> Iterator[dict[str, Any]]:
    """Yield everyday requests (``question``) with a response (``solution``) and no answer, no two of them alike.

    Args:
        size: how many.
        seed: decides what is drawn.
        split: ``train`` or ``evaluation``; they share no template with the same words in it, whatever the seeds.

    Raises:
        DataError: an unknown split, or there are fewer such requests than ``size``.
    """
    if split not in SPLITS:
        hint = nearest(str(split), SPLITS)
        raise DataError(f"generator 'general': params.split: '{split}' is not one of {', '.join(SPLITS)}{hint}")
    rng = random.Random(f"general:{split}:{seed}")
    seen: set[str] = set()
    idle = 0
    while len(seen) < size:
        name, questions, sentences = rng.choice(REQUESTS)
        slots = sorted({slot for text in questions for _, slot, _, _ in Formatter().parse(text) if slot})
        words = {slot: rng.choice(WORDS[slot]) for slot in slots}
        question = rng.choice(questions).format(**words)
        digest = hashlib.sha256(f"{name}:{sorted(words.items())}".encode()).digest()
        other = (int.from_bytes(digest[:4]) < EVALUATION_SHARE * 2**32) is not (split == "evaluation")
        if other or question in seen:
            idle += 1
            if idle > 20_000:
                raise DataError(
                    f"generator 'general': there are {len(seen)} requests of the split {split}, size asks for {size}; "
                    f"lower size"
                )
            continue
        seen.add(question)
        idle = 0
        # The first sentence names what was asked; of the others some are left out, in their order.
        kept = sorted(rng.sample(range(1, len(sentences)), rng.randint(2, len(sentences) - 1)))
        solution = " ".join(sentences[i] for i in (0, *kept)).format(**words)
        yield {"question": question, "answer": None, "solution": solution, "template": name, "words": words}
