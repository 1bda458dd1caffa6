"""The site card: one small file on the boot partition (FAT) that makes an image the Pi of a site.

`make site-card` writes it on the controller, from the inventory. `smart-meter site-card apply` applies it on
the Pi, before the network starts. The modules that read a card are pure.
"""
