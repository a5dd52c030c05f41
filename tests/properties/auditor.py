"""What a ledger should do, told a second time: slow, by recomputation, without any of the ledger's code.

It keeps facts (holds, transfers, exact costs) and adds them up anew for every question, where the ledger keeps totals.
"""

from dataclasses import dataclass, field

GRAINS = 9 * 10**12  # in a micro-dollar
TOO_MUCH = 2**62
HOUSE = ("payments", "overrun", "budgeted", "adjustment")

Answer = tuple[object, ...]


@dataclass
class Held:
    """A hold that was placed."""

    scopes: tuple[str, ...]
    amount: int
    deadline: float
    ends: str = "placed"
    charged: int = 0
    overrun: int = 0

    def counts(self, now: float) -> bool:
        return self.ends == "placed" and self.deadline > now


@dataclass
class Auditor:
    """Accounts by name with their limits (None: unlimited), and everything that happened to them."""

    limits: dict[str, int | None] = field(default_factory=dict)
    moves: list[tuple[str, str, int]] = field(default_factory=list)  # from, to, how much
    holds: dict[str, Held] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)  # exact, of each wallet, in grains
    answers: dict[str, tuple[dict[str, object], Answer]] = field(default_factory=dict)

    # facts, added up

    def credits(self, account: str) -> int:
        return sum(amount for _, to, amount in self.moves if to == account)

    def debits(self, account: str) -> int:
        return sum(amount for source, _, amount in self.moves if source == account)

    def held(self, account: str, now: float) -> int:
        return sum(hold.amount for hold in self.holds.values() if account in hold.scopes and hold.counts(now))

    def net(self, account: str, now: float) -> int:
        return self.credits(account) - self.debits(account) - self.held(account, now)

    def lacks(self, account: str, amount: int, now: float, opening: int | None = None) -> bool:
        limit = self.limits.get(account, opening)
        return limit is not None and self.net(account, now) + limit < amount

    # what happens

    def sweep(self, now: float) -> None:
        """Deadlines pass. Whatever the clock does later, an expired hold stays expired."""
        for hold in self.holds.values():
            if hold.ends == "placed" and hold.deadline <= now:
                hold.ends = "expired"

    def known(self, key: str, body: dict[str, object]) -> Answer | None:
        """The answer to a key that was used before."""
        if key not in self.answers:
            return None
        earlier, answer = self.answers[key]
        if earlier.keys() != body.keys():
            return ("conflict", "command")
        wrong = [name for name in body if body[name] != earlier[name]]
        return ("conflict", wrong[0]) if wrong else (*answer[:-1], False)

    def learn(self, key: str, body: dict[str, object], answer: Answer) -> Answer:
        self.answers[key] = (body, answer)
        return answer

    def limit(self, key: str, account: str, limit: int | None) -> Answer:
        body: dict[str, object] = {"account": account, "limit": limit}
        known = self.known(key, body)
        if known is not None:
            return known
        if account not in self.limits:
            return ("unknown", account, False)
        self.limits[account] = limit
        return self.learn(key, body, ("limit", limit, True))

    def move(self, key: str, source: str, to: str, amount: int, now: float) -> Answer:
        if not 0 < amount < TOO_MUCH:
            return ("bad",)
        body: dict[str, object] = {"debit": source, "credit": to, "amount_micro": amount}
        known = self.known(key, body)
        if known is not None:
            return known
        for account in (source, to):
            if account not in self.limits and account not in HOUSE:
                return self.learn(key, body, ("unknown", account, False))
        if self.lacks(source, amount, now):
            return self.learn(key, body, ("short", source, False))
        if source.startswith("budget") != to.startswith("budget"):
            return ("wrong",)
        for account in (source, to):
            self.limits.setdefault(account, None)
        self.moves.append((source, to, amount))
        return self.learn(key, body, ("moved", True))

    def place(
        self, hold: str, scopes: list[tuple[str, int | None]], amount: int, deadline: float, now: float
    ) -> Answer:
        """`scopes`: wallet first; each with the limit that it is opened with."""
        if not 0 <= amount < TOO_MUCH:
            return ("bad",)
        wallet, budgets = scopes[0], sorted(scopes[1:])
        names = (wallet[0], *(name for name, _ in budgets))
        body: dict[str, object] = {"wallet": names[0], "budgets": names, "amount_micro": amount, "deadline": deadline}
        known = self.known(f"hold {hold}", body)
        if known is not None:
            return ("placed", self.holds[hold].ends, False) if known[0] == "placed" else known
        if deadline <= now:
            return ("bad",)
        for name, opening in (wallet, *budgets):
            if self.lacks(name, amount, now, opening):
                return ("short", name, False)
        for name, opening in (wallet, *budgets):
            self.limits.setdefault(name, opening)
        self.holds[hold] = Held(names, amount, deadline)
        return self.learn(f"hold {hold}", body, ("placed", "placed", True))

    def post(self, hold: str, grains: int) -> Answer:
        if hold not in self.holds:
            return ("unknown", hold, False)
        body: dict[str, object] = {"grains": grains}
        known = self.known(f"post {hold}", body)
        if known is not None:
            return known
        found = self.holds[hold]
        if found.ends == "voided":
            return ("voided", False)
        wallet = found.scopes[0]
        before = self.costs.get(wallet, 0)
        self.costs[wallet] = before + grains
        whole = self.costs[wallet] // GRAINS - before // GRAINS
        found.charged = min(whole, found.amount) if found.ends == "placed" else 0
        found.overrun = whole - found.charged
        found.ends = "posted" if found.ends == "placed" else found.ends
        self._charge(found)
        return self.learn(f"post {hold}", body, ("posted", found.charged, found.overrun, True))

    def _charge(self, hold: Held) -> None:
        for account in ("revenue:tokens", "overrun", "budgeted"):
            self.limits.setdefault(account, None)
        self.moves.append((hold.scopes[0], "revenue:tokens", hold.charged))
        self.moves.append(("overrun", "revenue:tokens", hold.overrun))
        self.moves += [(scope, "budgeted", hold.charged) for scope in hold.scopes[1:]]

    def void(self, hold: str) -> Answer:
        if hold not in self.holds:
            return ("unknown", hold, False)
        found = self.holds[hold]
        if found.ends == "posted":
            return ("posted", found.charged, found.overrun, False)
        if found.ends == "expired":
            return ("expired",)
        first = found.ends == "placed"
        found.ends = "voided"
        return ("voided", first)
