"""The control plane under load: simulated hosts that speak the real protocol, a real coordinator and database."""
