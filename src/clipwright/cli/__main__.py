"""``python -m clipwright.cli`` does what the console script does."""

from __future__ import annotations

import sys

from clipwright.cli import main

sys.exit(main())
