"""The ledger: accounts, transfers and holds in an append-only, hash-chained log. Every transaction sums to zero."""
