"""Sifting by what is remembered: the losses of the training steps themselves."""
