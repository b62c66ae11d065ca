"""Simulated Windows hosts for deployment tests.

The real ansible-core and pywinrm talk to this WinRM endpoint; modules and programs are modelled in Python on a small
machine state: real files below ``fs/``, everything else in ``state.json``, every call in ``calls.jsonl``. It never
runs PowerShell. Whatever is not modelled fails the task, so that no test passes by accident. What it cannot prove is
listed in ``docs/windows-hosts.md``.
"""
