"""The gateway: checks requests, puts jobs into the ledger, waits for them, answers. Holds nothing."""
