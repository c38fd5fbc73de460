"""What routers and experts do, over a training and at its end."""
