"""Who may do what: organizations, projects, members, roles, and the API keys that speak for them."""
