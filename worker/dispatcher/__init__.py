"""The dispatcher: takes deliveries from the outbox and fires webhooks. Never imports torch."""
