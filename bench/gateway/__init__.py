"""What a gateway costs: CPU per request and added latency, measured side by side. See README.md."""
