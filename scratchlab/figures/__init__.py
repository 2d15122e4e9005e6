"""How any picture is drawn: style, and what several pictures share."""
