"""The account: records to terminal, markdown, JUnit properties and JSON lines."""
