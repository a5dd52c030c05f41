"""`surplus demo`: the whole of the token line in one go, with nothing pretended."""

import asyncio
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from surplus.client.client import Client
from surplus.demo import screen
from surplus.demo.customers import MODEL, Customer, words
from surplus.demo.server import Running, server
from surplus.kit.errors import SurplusError, Unavailable

GGUF: Final = Path(__file__).parent / "tiny-chat-q8_0.gguf"
CONTEXT: Final = 1024
REFRESH_S: Final = 0.1
SETTLED_WITHIN_S: Final = 10.0

RICH: Final = "northern-labs"
POOR: Final = "harbour-school"
CREDIT: Final = "1.00"
BUDGET: Final = "0.02"


def run(*, data: Path | None, port: int | None, once: bool) -> int:
    """Run the demo; returns the exit status. Without `once` the server stays up until Ctrl-C."""
    console = Console()
    with suppress(KeyboardInterrupt):
        try:
            if data is not None:
                data.mkdir(mode=0o700, parents=True, exist_ok=True)
                _run(console, data, port or _free_port(), once=once)
                return 0
            with tempfile.TemporaryDirectory(prefix="surplus-demo-") as folder:
                _run(console, Path(folder), port or _free_port(), once=once)
        except SurplusError as error:
            console.print(f"surplus: {error.message}", style="red", highlight=False)
            return 1
    return 0


def _run(console: Console, data: Path, port: int, *, once: bool) -> None:
    with server(data, port) as running, Client(running.url, running.operator_key) as client:
        console.print(f"Surplus is up at {running.url} after {running.started_in_s:.1f} s", highlight=False)
        customers = _open_shop(client)
        _wait_for_model(client)
        console.print(
            f"{MODEL} is a 3-million-parameter model made for this demo; it recites.\n"
            f"Two customers with {CREDIT} USD each talk to it at the same time;\n"
            f"the key of {POOR} has a budget of {BUDGET} USD.\n",
            highlight=False,
        )
        asyncio.run(_talk(console, client, running, customers))
        _report(console, client, customers)
        console.print(screen.addresses(running.url, customers[0].key), highlight=False, soft_wrap=True)
        if not once:
            console.print("\nThe server stays up; Ctrl-C ends it.")
            signal.pause()


def _open_shop(client: Client) -> Sequence[Customer]:
    client.set_price(MODEL, input="10.00", cache_read="2.50", output="40.00")
    client.create_deployment(MODEL, engine="llamacpp", path=str(GGUF), context=CONTEXT, slots=4, embeddings=True)
    for name in (RICH, POOR):
        client.create_organization(name, credit=CREDIT)
    rich, poor = client.create_key(RICH), client.create_key(POOR, budget=BUDGET)
    return [Customer(RICH, rich.key), Customer(POOR, poor.key)]


def _wait_for_model(client: Client) -> None:
    _wait("the model is ready", lambda: all(model.ready for model in client.list_models()))


async def _talk(console: Console, client: Client, running: Running, customers: Sequence[Customer]) -> None:
    talking = asyncio.gather(*(customer.talk(f"{running.url}/v1") for customer in customers))
    with Live(console=console, refresh_per_second=10) as display:
        while not talking.done():
            display.update(await asyncio.to_thread(_table, client, customers))
            await asyncio.wait([talking], timeout=REFRESH_S)
        await talking
        await asyncio.to_thread(_settled, client, customers)
        display.update(await asyncio.to_thread(_table, client, customers))


def _table(client: Client, customers: Sequence[Customer]) -> screen.Table:
    return screen.live([(one, client.get_usage(one.name), client.get_balance(one.name)) for one in customers])


def _settled(client: Client, customers: Sequence[Customer]) -> None:
    """Wait until every answer is on the books."""
    for customer in customers:
        _wait(
            f"the answers to {customer.name} are on the books",
            lambda customer=customer: (
                client.get_usage(customer.name).requests >= customer.answered
                and not float(client.get_balance(customer.name).held)
            ),
        )


def _report(console: Console, client: Client, customers: Sequence[Customer]) -> None:
    console.print()
    for line in words(customers):
        console.print(line, highlight=False, markup=False, overflow="ellipsis", no_wrap=True)
    for customer in customers:
        if customer.refusal:
            console.print(f"\n{customer.name} was refused:\n{customer.refusal}", style="yellow", highlight=False)
    console.print()
    for customer in customers:
        console.print(screen.bill(client.get_invoice(customer.name)))
        console.print(screen.wallet(client.get_balance(customer.name)), highlight=False)


def _wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            message = f"waited {SETTLED_WITHIN_S:.0f} s in vain until {what}"
            raise Unavailable(message)
        time.sleep(0.05)  # noqa: TID251  waits for the condition above


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
