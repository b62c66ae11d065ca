"""CPU and latency of the relay beside other forwarders, on the same machine in the same run."""
