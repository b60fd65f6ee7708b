"""Methods that learn or choose a distilled set, one folder or file each, side by side."""
