"""How hard the property tests try: `ci` by default, `pytest --hypothesis-profile deep` for a long run."""

from hypothesis import HealthCheck, settings

settings.register_profile("ci", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", settings.get_profile("ci"), max_examples=3000)
settings.load_profile("ci")
