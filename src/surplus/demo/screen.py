"""What the demo prints: the live table, the bills, and where everything is."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.table import Table

from surplus.demo.customers import MODEL, Customer
from surplus.wire.invoices import Invoice
from surplus.wire.money import Balance
from surplus.wire.usage import Usage

CLASSES: Final = {"input": "input", "cache_read": "input from cache", "cache_write": "cache write", "output": "output"}


def live(rows: Sequence[tuple[Customer, Usage, Balance]]) -> Table:
    """Who is talking, what was metered, and whose money it is: one row a customer."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="metered while they talk (tokens, USD)",
        title_justify="left",
        pad_edge=False,
        padding=0,
    )
    for name in ("customer", "running", "answers", "refused", "input", "cached", "output", "held", "charged"):
        table.add_column(name, justify="left" if name == "customer" else "right", no_wrap=True)
    for customer, usage, balance in rows:
        table.add_row(
            customer.name,
            str(customer.running),
            str(customer.answered),
            str(customer.refused),
            str(usage.input_tokens),
            str(usage.cached_input_tokens),
            str(usage.output_tokens),
            balance.held,
            balance.settled,
        )
    return table


def wallet(balance: Balance) -> str:
    """The proof that a wallet adds up."""
    return (
        f" {balance.credit} paid in = {balance.available} available + {balance.held} held + {balance.settled} charged\n"
    )


def bill(invoice: Invoice) -> Table:
    """One customer's bill, to the micro-dollar."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{invoice.organization}, {invoice.month}: {invoice.requests} requests",
        title_justify="left",
        pad_edge=False,
        show_footer=True,
    )
    table.add_column("item", footer="charged to the wallet", no_wrap=True)
    table.add_column("tokens", justify="right")
    table.add_column("USD per million", justify="right")
    table.add_column("USD", justify="right", footer=invoice.total)
    for line in invoice.lines:
        item = f"{line.model} {CLASSES[line.token_class]}"
        table.add_row(item, f"{line.quantity:,}", line.unit_price, line.amount)
    for adjustment in invoice.adjustments:
        table.add_row(adjustment.name, "", "", adjustment.amount)
    return table


def addresses(url: str, key: str) -> str:
    """Where to go from here."""
    body = f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "What is 17 + 25?"}}]}}'
    return (
        f"model API      {url}/v1\n"
        f"documents      {url}/api/docs\n"
        f"try it         curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
