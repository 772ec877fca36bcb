"""The categories of preparedness knowledge that tags are suggested from.

Each description names the category's subjects in the words of pages about them: it is embedded and compared with
documents.
"""

from __future__ import annotations

from typing import NamedTuple

CATEGORIES_VERSION = 1
"""Increase it when a category changes, so that earlier suggestions count as outdated."""


class Category(NamedTuple):
    """A field of knowledge: its tag, and a description of its subjects."""

    tag: str
    description: str


CATEGORIES: tuple[Category, ...] = (
    Category(
        "water",
        "Finding, collecting, storing and treating drinking water: boiling, filtering, disinfecting with chlorine or"
        " sunlight, rain barrels and wells.",
    ),
    Category(
        "food preservation",
        "Keeping food for a long time: canning in jars, drying, salting, smoking, fermenting, root cellars, and storing"
        " grain and other staple foods.",
    ),
    Category(
        "cooking",
        "Preparing meals and cooking without a kitchen: recipes, bread, camp stoves, sprouting seeds, and nutrition"
        " from simple ingredients.",
    ),
    Category(
        "first aid",
        "Helping an injured person until a doctor comes: bleeding, burns, wounds, fractures, shock, hypothermia and"
        " resuscitation.",
    ),
    Category(
        "medicine",
        "Recognising and treating illness: fever, infection, diarrhoea and dehydration, medicines and their doses,"
        " nursing, childbirth and dental care.",
    ),
    Category(
        "shelter",
        "A roof and warmth: building a shelter or a hut, insulating rooms, tents, staying warm in winter when the"
        " heating fails.",
    ),
    Category(
        "energy",
        "Electric power and fuel off the grid: batteries, solar panels, generators, lamps, firewood and what to do in a"
        " power cut.",
    ),
    Category(
        "radio communication",
        "Staying in touch when telephone and internet fail: emergency broadcasts, amateur and two-way radio, antennas,"
        " frequencies and signals for help.",
    ),
    Category(
        "navigation",
        "Finding the way outdoors: maps, compass, coordinates, stars and landmarks, planning routes and evacuation on"
        " foot.",
    ),
    Category(
        "sanitation",
        "Hygiene where there is no sewer: latrines and composting toilets, washing hands, soap, waste, pests and the"
        " prevention of disease.",
    ),
    Category(
        "agriculture",
        "Growing food: gardens, soil and compost, sowing and harvest, irrigation, saving seeds, orchards, and keeping"
        " chickens, goats and bees.",
    ),
    Category(
        "tools and repair",
        "Making and mending things by hand: knives, axes, saws, sharpening, ropes and knots, woodwork, metalwork,"
        " sewing and the repair of engines.",
    ),
    Category(
        "security",
        "Protecting people and their home from crime and unrest: locks, burglars, neighbourhood watch, self-defence and"
        " safe behaviour in public disorder.",
    ),
    Category(
        "weather and disasters",
        "Storms, floods, earthquakes, heat waves, blizzards and wildfires: warnings, forecasts, and what to do before,"
        " during and after them.",
    ),
    Category(
        "fire",
        "Making and controlling fire: tinder, kindling, matches, campfires, wood stoves, carbon monoxide, smoke alarms"
        " and putting a fire out.",
    ),
    Category(
        "foraging and hunting",
        "Food from the wild: edible plants, berries and mushrooms, fishing, trapping, hunting and dressing game, and"
        " telling poisonous species apart.",
    ),
    Category(
        "emergency planning",
        "Being ready as a household: a kit of supplies, go bags, important papers, checklists, meeting places, care for"
        " children, old people and pets.",
    ),
)

OTHER_FIELDS: tuple[str, ...] = (
    "programming: software, source code, functions, classes, libraries, servers, databases and operating systems.",
    "mathematics: theorems, proofs, equations, algebra, geometry, probability and statistics.",
    "physics and engineering: mechanics, fluid flow, aerodynamics, electronics, materials, measurements.",
    "law and government: courts, contracts, elections, parliaments, taxes and public administration.",
    "business and finance: companies, markets, accounting, banking, advertising, management and careers.",
    "history and biography: wars, kings, empires, archaeology and the lives of famous people.",
    "literature and language: novels, poems, grammar, vocabulary, writing and translation.",
    "music, film and games: songs, actors, television, board games, video games and celebrities.",
    "sport: football, athletics, matches, teams, players, championships and scores.",
    "religion and philosophy: belief, scripture, ethics, the soul and schools of thought.",
    "travel and places: cities, countries, museums, hotels, airports and tourist sights.",
    "fashion and art: clothes, painting, design, photography, sculpture and exhibitions.",
)
"""Other subjects of sources. A document nearer to one of these belongs to no category, and their similarities to the
categories show what a model gives for unrelated texts."""
