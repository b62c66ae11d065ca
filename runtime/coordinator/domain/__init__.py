"""Rules of the control plane, without input, output or clock: events and times come in, new records go out."""
