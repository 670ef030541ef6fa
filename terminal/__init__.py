"""Terminal client: reads cards and relays APDUs; it imports nothing of kms."""
