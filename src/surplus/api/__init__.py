"""The control plane's HTTP: `/api`, its document and pages, health and metrics."""
