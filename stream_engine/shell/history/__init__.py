"""`<app>.history` on Kafka: its schemas, its bytes, and how it is read."""
