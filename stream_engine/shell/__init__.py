"""Everything that touches the world: Kafka, disk, clock, processes. It carries out what the core decides, and decides nothing."""
