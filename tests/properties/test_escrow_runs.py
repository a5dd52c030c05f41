"""The escrow machine in long lives, each from a seed: some things need a hundred steps to come about."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.properties import test_escrow_machine as machines
from tests.properties.escrow_world import GRAINS
from tests.stores import SQLiteStores

STEPS = 250
WEIGHTS = {
    "hold": 10,
    "call": 10,
    "settle": 8,
    "load": 5,
    "admit": 3,
    "poke": 2,
    "release": 1,
    "tidy": 3,
    "leave": 1,
    "wait": 1,
}


def event(dice: random.Random) -> tuple[Any, ...]:
    """A small thing that happens."""
    pick, smooth = dice.randrange(41), dice.random() < 0.5
    (name,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
    match name:
        case "hold":
            wanted = dice.choice([*machines.MICROS, *machines.MICROS, "all", "all and sliced", "one too many"])
            return (name, pick, wanted, dice.randrange(4), smooth)
        case "call":
            return (name, pick, dice.randrange(41), dice.choice(machines.HOW))
        case "settle":
            how = dice.choice(["nothing", "little", "half", "all", "more"])
            return (name, pick, how, dice.choice([0, 1, GRAINS - 1]))
        case "load" | "tidy" | "poke":
            return ("do", pick, name, smooth)
        case "wait":
            return (name, dice.choice([0.01, 0.03, 1.1, 6.0, 6.0]))
        case _:
            return (name, pick)


def turn(machine: machines.EscrowMachine, dice: random.Random) -> None:
    """Now and then something large happens."""
    match dice.randrange(100):
        case 0:
            machine.a_gateway_dies(dice.randrange(41), dice.randrange(4))
        case 1 if len(machine.alive()) < len(machine.gateways):
            machine.it_starts_again(dice.randrange(41))
        case 2:
            machine.a_start_that_failed_is_repeated()
        case 3:
            machine.credit_comes_in(dice.choice([1, 500, 20_000]))
        case 4:
            machine.a_cap_changes(dice.randrange(3), dice.choice(machines.CAPS))
        case 5:
            machine.time_passes(dice.choice([6.0, 61.0, 40_000.0]))
        case 6:
            machine.the_clock_is_set(dice.choice([-30.0, -3.0, 3.0]))
        case _:
            machine.things_happen([event(dice)])


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 60))])
def test_a_long_life_of_three_gateways(sqlite: SQLiteStores, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    machine = type("EscrowMachineOnAStore", (machines.EscrowMachine,), {"stores": sqlite, "folder": tmp_path})()
    try:
        machine.begin(dice.choice(machines.CREDIT), (dice.choice(machines.CAPS), dice.choice(machines.CAPS), 60_000))
        for _ in range(STEPS):
            turn(machine, dice)
            machine.everything_holds()
        machine.all_books_agree_in_the_end()
    finally:
        machine.close()
