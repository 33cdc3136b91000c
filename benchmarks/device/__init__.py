"""Training on a GPU: its rate, what the card can do, and its model beside the processors'."""
