"""Domain-free parts: money, clock, ids, errors, settings, database, journal, outbox, logs. No domain nouns."""
