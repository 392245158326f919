"""Speed of the harness itself. Printed, never asserted."""
