"""Organizations, projects, members and keys."""

from tests.cli.conftest import Command

FAR = "2099-01-01T00:00:00Z"


def test_an_organization_is_created_with_its_credit(surplus: Command) -> None:
    shown = surplus.ok("org", "create", "table-org", "--credit", "12.5", "--credit-limit", "3")
    assert "12.500000" in shown
    assert "3.000000" in shown
    made = surplus.json("org", "create", "json-org", "--credit", "5")
    assert set(made) == {"id", "name"}
    assert made["name"] == "json-org"
    assert surplus.json("balance", "--org", made["id"])["available"] == "5.000000"


def test_organizations_are_listed(surplus: Command, org: str) -> None:
    assert org in surplus.ok("org", "list")
    assert org in [each["name"] for each in surplus.json("org", "list")]


def test_an_organization_is_refused_twice_and_with_bad_values(surplus: Command, org: str) -> None:
    said = surplus.refused("org", "create", org)
    assert "already" in said
    assert "409" in said
    assert "request req_" in said
    assert "'abc' is not an amount of dollars" in surplus.bad("org", "create", "x", "--credit", "abc")
    assert "negative" in surplus.bad("org", "create", "x", "--credit", "-1")
    assert "--credit-limit" in surplus.bad("org", "create", "x", "--credit-limit", "1.0000001")
    assert "empty" in surplus.bad("org", "create", " ")
    surplus.bad("org", "list", "surplus")


def test_projects_are_created_and_listed(surplus: Command, org: str) -> None:
    assert "has no project" in surplus.ok("project", "list", "--org", org)
    assert surplus.json("project", "list", "--org", org) == []
    assert "apollo" in surplus.ok("project", "create", "apollo", "--org", org)
    made = surplus.json("project", "create", "gemini", "--org", org)
    assert made["name"] == "gemini"
    assert made["id"] in surplus.ok("project", "list", "--org", org)
    assert [each["name"] for each in surplus.json("project", "list", "--org", org)] == ["apollo", "gemini"]
    surplus.refused("project", "create", "apollo", "--org", org)
    surplus.refused("project", "list", "--org", "nobody")
    surplus.bad("project", "create", "apollo")
    surplus.bad("project", "list")


def test_members_come_change_and_go(surplus: Command, org: str) -> None:
    assert "has no member" in surplus.ok("member", "list", "--org", org)
    assert "ada@example.com" in surplus.ok("member", "add", "ada@example.com", "--org", org, "--role", "admin")
    assert surplus.json("member", "add", "bob@example.com", "--org", org)["role"] == "developer"
    assert "admin" in surplus.ok("member", "list", "--org", org)
    emails = [each["email"] for each in surplus.json("member", "list", "--org", org)]
    assert emails == ["ada@example.com", "bob@example.com"]
    assert "finance" in surplus.ok("member", "set-role", "bob@example.com", "--org", org, "--role", "finance")
    changed = surplus.json("member", "set-role", "bob@example.com", "--org", org, "--role", "admin")
    assert changed["role"] == "admin"
    assert "no longer a member" in surplus.ok("member", "remove", "bob@example.com", "--org", org)
    assert surplus.json("member", "remove", "ada@example.com", "--org", org)["email"] == "ada@example.com"
    assert surplus.json("member", "list", "--org", org) == []


def test_members_are_refused(surplus: Command, org: str) -> None:
    surplus.refused("member", "add", "nonsense", "--org", org)
    surplus.refused("member", "list", "--org", "nobody")
    surplus.refused("member", "set-role", "eve@example.com", "--org", org, "--role", "admin")
    surplus.refused("member", "remove", "eve@example.com", "--org", org)
    assert "'emperor'" in surplus.bad("member", "add", "a@example.com", "--org", org, "--role", "emperor")
    surplus.bad("member", "list")
    surplus.bad("member", "set-role", "a@example.com", "--org", org)
    surplus.bad("member", "remove", "--org", org)


def test_a_key_is_shown_once_and_works(surplus: Command, org: str) -> None:
    limits = ("--rpm", "60", "--tpm", "1000", "--concurrency", "2", "--expires", FAR, "--budget", "3")
    shown = surplus.ok("key", "create", "--org", org, "--name", "ci", *limits)
    assert "sk-" in shown
    assert "only time" in shown
    assert "60 requests/min, 1,000 tokens/min, 2 at once" in shown
    assert "2099-01-01 00:00:00Z" in shown
    made = surplus.json("key", "create", "--org", org, "--role", "finance", "--expires", "+30d")
    assert set(made) == {"id", "key"}
    assert surplus("--key", made["key"], "balance", "--org", org).status == 0
    assert surplus("--key", made["key"], "org", "create", "mine").status == 1


def test_keys_are_listed_without_secrets_and_with_their_projects(surplus: Command, org: str) -> None:
    assert "has no key" in surplus.ok("key", "list", "--org", org)
    surplus.ok("project", "create", "apollo", "--org", org)
    made = surplus.json("key", "create", "--org", org, "--project", "apollo", "--expires", FAR)
    listed = surplus.ok("key", "list", "--org", org)
    assert "apollo" in listed
    assert "until 2099-01-01 00:00:00Z" in listed
    assert made["key"] not in listed
    (key,) = surplus.json("key", "list", "--org", org)
    assert key["id"] == made["id"]
    assert "key" not in key


def test_a_key_is_rotated_and_revoked(surplus: Command, org: str) -> None:
    first = surplus.json("key", "create", "--org", org, "--role", "admin")
    second = surplus.json("key", "rotate", first["id"])
    assert second["id"] == first["id"]
    assert second["key"] != first["key"]
    assert "401" in surplus.refused("--key", first["key"], "balance", "--org", org)
    shown = surplus.ok("key", "rotate", first["id"], "--overlap", "1h")
    assert "another 3,600 seconds" in shown
    assert surplus("--key", second["key"], "balance", "--org", org).status == 0
    assert "revoked" in surplus.ok("key", "revoke", first["id"])
    assert surplus.json("key", "revoke", first["id"])["revoked_at"]
    assert "revoked" in surplus.ok("key", "list", "--org", org)


def test_keys_are_refused(surplus: Command, org: str) -> None:
    surplus.refused("key", "create", "--org", org, "--project", "nowhere")
    surplus.refused("key", "list", "--org", "nobody")
    surplus.refused("key", "rotate", "key_none")
    surplus.refused("key", "revoke", "key_none")
    for option, value in (("--budget", "x"), ("--rpm", "0"), ("--tpm", "many"), ("--expires", "tomorrow")):
        assert option in surplus.bad("key", "create", "--org", org, option, value)
    surplus.bad("key", "list")
    assert "span of time" in surplus.bad("key", "rotate", "key_none", "--overlap", "1 fortnight")
    surplus.bad("key", "revoke")
