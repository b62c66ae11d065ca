"""Processes of sessions: started, watched, ended with everything they started, and found again after a restart."""
