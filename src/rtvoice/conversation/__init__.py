"""The conversation: who said what, in which order, and for how long nobody has."""

from rtvoice.conversation.history import ConversationHistory, ConversationTurn
from rtvoice.conversation.inactivity import ConversationInactivityTimer

__all__ = ["ConversationHistory", "ConversationInactivityTimer", "ConversationTurn"]
