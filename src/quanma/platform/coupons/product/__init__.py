"""What is 商品券's own: its stocks' terms, its coupons' life, its objects and its refusals. Pure."""
