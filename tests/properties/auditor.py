"""What a ledger should do, told a second time: slow, by recomputation, without any of the ledger's code.

It keeps facts (holds, transfers, exact costs) and adds them up anew for every question, where the ledger keeps totals.
"""

from dataclasses import dataclass, field

GRAINS = 9 * 10**12  # in a micro-dollar
TOO_MUCH = 2**62
HOUSE = ("payments", "overrun", "budgeted", "adjustment")

Answer = tuple[object, ...]
Scopes = list[tuple[str, int | None]]


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
class Lot:
    """A slice that has money. `drawn` is when it last got some, in a count of draws and recalls."""

    holder: str
    scopes: tuple[str, ...]
    amount: int
    drawn: int
    returned: bool = False


@dataclass
class Recall:
    """When an account last asked for what is idle in slices (in the same count, and by the clock), and for how much."""

    number: int
    at: float
    needed: int


@dataclass
class Auditor:
    """Accounts by name with their limits (None: unlimited), and everything that happened to them."""

    limits: dict[str, int | None] = field(default_factory=dict)
    moves: list[tuple[str, str, int]] = field(default_factory=list)  # from, to, how much
    holds: dict[str, Held] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)  # exact, of each wallet, in grains
    answers: dict[str, tuple[dict[str, object], Answer]] = field(default_factory=dict)
    lots: dict[str, Lot] = field(default_factory=dict)
    granted: dict[str, int] = field(default_factory=dict)  # of each slice, as its holder has told
    recalls: dict[str, Recall] = field(default_factory=dict)  # by account
    overruns: dict[str, int] = field(default_factory=dict)  # of each slice
    events: int = 0

    # facts, added up

    def credits(self, account: str) -> int:
        return sum(amount for _, to, amount in self.moves if to == account)

    def debits(self, account: str) -> int:
        return sum(amount for source, _, amount in self.moves if source == account)

    def placed(self, account: str, now: float) -> int:
        return sum(hold.amount for hold in self.holds.values() if account in hold.scopes and hold.counts(now))

    def sliced(self, account: str) -> int:
        return sum(lot.amount for lot in self.lots.values() if account in lot.scopes)

    def held(self, account: str, now: float) -> int:
        """What requests hold, as far as anybody has told."""
        lots = [(name, lot) for name, lot in self.lots.items() if account in lot.scopes]
        return self.placed(account, now) + sum(min(lot.amount, self.granted.get(name, 0)) for name, lot in lots)

    def net(self, account: str, now: float) -> int:
        return self.credits(account) - self.debits(account) - self.placed(account, now) - self.sliced(account)

    def rest(self, account: str, now: float, opening: int | None) -> int | None:
        limit = self.limits.get(account, opening)
        return None if limit is None else self.net(account, now) + limit

    def to_give_back(self, holder: str) -> list[str]:
        """Slices of a process that were asked for since they were drawn, and did not answer."""
        return sorted(
            name
            for name, lot in self.lots.items()
            if lot.holder == holder and not lot.returned and any(self._asked(a, lot) for a in lot.scopes)
        )

    def _asked(self, account: str, lot: Lot) -> bool:
        return account in self.recalls and self.recalls[account].number > lot.drawn

    def lacks(self, account: str, amount: int, now: float, opening: int | None = None) -> bool:
        limit = self.limits.get(account, opening)
        return limit is not None and self.net(account, now) + limit < amount

    # what happens

    def sweep(self, now: float) -> None:
        """Deadlines pass. Whatever the clock does later, an expired hold stays expired."""
        for hold in self.holds.values():
            if hold.ends == "placed" and hold.deadline <= now:
                hold.ends = "expired"

    def committed(self) -> None:
        """A batch has ended: what was told of slices that it left without money is forgotten."""
        self.granted = {name: micro for name, micro in self.granted.items() if name in self.lots}

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

    def limit(self, key: str, account: str, limit: int | None, now: float) -> Answer:
        body: dict[str, object] = {"account": account, "limit": limit}
        known = self.known(key, body)
        if known is not None:
            return known
        if account not in self.limits:
            return ("unknown", account, False)
        self.limits[account] = limit
        if self.sliced(account):
            self._recall(account, 0, now)
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
        self,
        hold: str,
        scopes: Scopes,
        amount: int,
        deadline: float,
        now: float,
        wish: tuple[str, str, int] | None = None,
        *,
        final: bool = False,
    ) -> Answer:
        """`scopes`: wallet first; each with the limit that it is opened with. `wish`: slice, holder, how much."""
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
        if wish is not None:
            drawn = self.draw(wish[0], wish[1], scopes, max(wish[2], amount), amount, now)
            if drawn[-1]:
                return drawn
        short = [name for name, opening in (wallet, *budgets) if self.lacks(name, amount, now, opening)]
        if short:
            return self._refuse(short, dict(scopes), amount, now, final=final)
        for name, opening in (wallet, *budgets):
            self.limits.setdefault(name, opening)
        self.holds[hold] = Held(names, amount, deadline)
        return self.learn(f"hold {hold}", body, ("placed", "placed", True))

    def _refuse(
        self, short: list[str], openings: dict[str, int | None], amount: int, now: float, *, final: bool
    ) -> Answer:
        """Nobody is refused because of money that may be idle in slices, unless the command is the last one."""
        missing = {name: amount - (self.rest(name, now, openings[name]) or 0) for name in short}
        enough = all(missing[name] <= self.sliced(name) for name in short)
        silent = {
            name: [lot for lot in self.lots.values() if name in lot.scopes and not lot.returned] for name in short
        }
        waiting = [name for name in short if silent[name]]
        if final or not enough or not waiting:
            return ("short", short[0], False)
        for name in waiting:
            if any(not self._asked(name, lot) for lot in silent[name]):
                self._recall(name, amount, now)
        return ("recalled", tuple(waiting))

    def _recall(self, account: str, needed: int, now: float) -> None:
        self.events += 1
        self.recalls[account] = Recall(self.events, now, needed)

    def draw(self, name: str, holder: str, scopes: Scopes, want: int, hold: int, now: float) -> Answer:
        """Only where the rest of every limited account is at least 128 of the largest hold; then at most 1/32 of it."""
        if not (0 <= want < TOO_MUCH and 0 <= hold < TOO_MUCH):
            return ("bad",)
        ordered = [scopes[0], *sorted(scopes[1:])]
        names = tuple(scope for scope, _ in ordered)
        amount = want
        for account, opening in ordered:
            rest = self.rest(account, now, opening)
            if rest is None:
                continue
            recall = self.recalls.get(account)
            largest = max(hold, recall.needed) if recall is not None and recall.at + 60 > now else hold
            if rest < 0 or rest // 32 < 4 * largest:
                return ("drawn", 0)
            amount = min(amount, rest // 32)
        lot = self.lots.get(name)
        if amount < max(1, hold) or (lot is not None and (lot.holder, lot.scopes) != (holder, names)):
            return ("drawn", 0)
        for account, opening in ordered:
            self.limits.setdefault(account, opening)
        self.events += 1
        before = 0 if lot is None else lot.amount
        self.lots[name] = Lot(holder, names, before + amount, self.events)
        return ("drawn", amount)

    def give_back(self, name: str, keep: int) -> Answer:
        lot = self.lots.get(name)
        if lot is None:
            return ("returned", 0)
        back = max(0, lot.amount - keep)
        lot.returned = True
        self._take(name, back)
        return ("returned", back)

    def _take(self, name: str, amount: int) -> None:
        self.lots[name].amount -= amount
        if not self.lots[name].amount:
            del self.lots[name]

    def charge(self, ref: str, name: str, wallet: str, costs: list[tuple[int, int]]) -> Answer:
        """`costs`: the exact cost in grains and what was granted, of each request in order."""
        body: dict[str, object] = {"slice": name, "wallet": wallet, "requests": len(costs)}
        body["grains"] = sum(grains for grains, _ in costs)
        if f"charge {ref}" in self.answers:
            known = self.known(f"charge {ref}", body)
            return ("charged", (), (), False) if known is not None and known[0] == "charged" else known
        lot = self.lots.get(name)
        if lot is not None and lot.scopes[0] != wallet:
            return ("wrong",)
        for account, opening in ((wallet, 0), ("revenue:tokens", None), ("overrun", None), ("budgeted", None)):
            self.limits.setdefault(account, opening)
        charged: list[int] = []
        overrun: list[int] = []
        for grains, granted in costs:
            before = self.costs.get(wallet, 0)
            self.costs[wallet] = before + grains
            whole = self.costs[wallet] // GRAINS - before // GRAINS
            left = 0 if lot is None else lot.amount - sum(charged)
            charged.append(min(whole, granted, left))
            overrun.append(whole - charged[-1])
        self.moves.append((wallet, "revenue:tokens", sum(charged)))
        self.moves.append(("overrun", "revenue:tokens", sum(overrun)))
        if lot is not None:
            self.moves += [(scope, "budgeted", sum(charged)) for scope in lot.scopes[1:]]
            self._take(name, sum(charged))
        self.overruns[name] = self.overruns.get(name, 0) + sum(overrun)
        return self.learn(f"charge {ref}", body, ("charged", tuple(charged), tuple(overrun), True))

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
