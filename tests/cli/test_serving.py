"""Deployments, models, replicas, prices, the ledger and the status."""

from pathlib import Path

from tests.cli.conftest import Command

UNREACHABLE = "http://127.0.0.1:9/v1"


def test_a_deployment_is_made_listed_drained_and_deleted(surplus: Command) -> None:
    place = ("--engine", "vllm", "--url", UNREACHABLE, "--context", "4096")
    more = ("--max-output", "100", "--slots", "8", "--priority", "1", "--sku", "large", "--upstream-model", "org/big")
    shown = surplus.ok("deployment", "create", "big", *place, *more)
    assert UNREACHABLE in shown
    assert "large" in shown
    made = surplus.json("deployment", "create", "big", *place, "--key-env", "ENGINE_KEY", "--embeddings")
    assert (made["slots"], made["embeddings"], made["key_env"]) == (4, True, "ENGINE_KEY")
    assert made["id"] in surplus.ok("deployment", "list")
    assert made["id"] in [each["id"] for each in surplus.json("deployment", "list")]
    assert surplus.json("deployment", "drain", made["id"])["draining"] is True
    assert "draining" in surplus.ok("deployment", "drain", made["id"])
    assert "is deleted" in surplus.ok("deployment", "delete", made["id"])
    for each in surplus.json("deployment", "list"):
        assert surplus.json("deployment", "delete", each["id"])["id"] == each["id"]
    assert "no deployment" in surplus.ok("deployment", "list")


def test_a_relative_model_path_is_taken_from_here(surplus: Command) -> None:
    made = surplus.json("deployment", "create", "near", "--engine", "llamacpp", "--path", "m.gguf", "--context", "99")
    assert made["path"] == str(Path.cwd() / "m.gguf")
    surplus.ok("deployment", "delete", made["id"])


def test_deployments_are_refused(surplus: Command) -> None:
    wrong = ("deployment", "create", "m", "--engine", "vllm", "--url", "http://x/v2", "--context", "10")
    assert "/v1" in surplus.refused(*wrong)
    surplus.refused("deployment", "drain", "dep_none")
    surplus.refused("deployment", "delete", "dep_none")
    base = ("deployment", "create", "m", "--context", "10")
    assert "'ollama'" in surplus.bad(*base, "--engine", "ollama", "--url", UNREACHABLE)
    assert "one place" in surplus.bad(*base, "--engine", "vllm")
    assert "one place" in surplus.bad(*base, "--engine", "vllm", "--url", UNREACHABLE, "--path", "x")
    assert "--context" in surplus.bad("deployment", "create", "m", "--engine", "vllm", "--context", "0")
    surplus.bad("deployment", "list", "--all")
    surplus.bad("deployment", "drain")
    surplus.bad("deployment", "delete")


def test_models_and_replicas_are_listed(surplus: Command) -> None:
    place = ("--engine", "vllm", "--url", UNREACHABLE, "--context", "4096")
    made = surplus.json("deployment", "create", "listed-model", *place)
    surplus.ok("price", "set", "listed-model", "--input", "0.15", "--output", "0.6")
    shown = surplus.ok("model", "list")
    assert "listed-model" in shown
    assert "0.15" in shown
    (model,) = [each for each in surplus.json("model", "list") if each["id"] == "listed-model"]
    assert (model["ready"], model["price"]["output"]) == (False, "0.60")
    assert "listed-model" in surplus.ok("replica", "list")
    assert made["id"] in [each["deployment"] for each in surplus.json("replica", "list")]
    surplus.ok("deployment", "delete", made["id"])
    surplus.bad("model", "list", "x")
    surplus.bad("replica", "list", "x")


def test_only_the_operator_sees_replicas(surplus: Command, org: str) -> None:
    key = surplus.json("key", "create", "--org", org)["key"]
    assert "403" in surplus.refused("--key", key, "replica", "list")
    assert surplus("--key", key, "model", "list").status == 0
    assert surplus("--key", "sk-wrong", "model", "list").status == 1


def test_prices_are_published_and_listed(surplus: Command) -> None:
    shown = surplus.ok("price", "set", "sold", "--input", "0.10", "--output", "0.4", "--cache-read", "0.01")
    assert "0.01" in shown
    later = ("--from", "2099-01-01", "--cache-write", "0.2")
    made = surplus.json("price", "set", "sold", "--input", "9", "--output", "9", *later)
    assert (made["effective_from"], made["cache_write"]) == ("2099-01-01T00:00:00Z", "0.20")
    assert "2099-01-01 00:00:00Z" in surplus.ok("price", "list")
    assert len([each for each in surplus.json("price", "list") if each["model"] == "sold"]) == 2
    implausible = ("price", "set", "sold", "--input", "999999", "--output", "1", "--from", "2098-01-01")
    surplus.refused(*implausible)
    surplus.ok(*implausible, "--force")
    assert "'cheap'" in surplus.bad("price", "set", "sold", "--input", "cheap", "--output", "1")
    assert "--output" in surplus.bad("price", "set", "sold", "--input", "1")
    surplus.bad("price", "list", "x")


def test_the_ledger_is_verified(surplus: Command, org: str) -> None:
    assert "sound" in surplus.ok("ledger", "verify")
    assert surplus.json("ledger", "verify")["ok"] is True
    key = surplus.json("key", "create", "--org", org)["key"]
    surplus.refused("--key", key, "ledger", "verify")
    surplus.bad("ledger", "verify", "x")


def test_the_status_says_why_a_server_is_not_ready(surplus: Command, org: str) -> None:
    shown = surplus.ok("status")
    assert "not ready: the journal is far behind" in shown
    assert "1,234 bytes" in shown
    assert surplus.json("status")["version"] == "1.2.3"
    key = surplus.json("key", "create", "--org", org)["key"]
    surplus.refused("--key", key, "status")
    surplus.bad("status", "x")
