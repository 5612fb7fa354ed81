"""Product feeds and exports: a catalogue without orders."""
