"""The price book, rating, budgets and statements."""
