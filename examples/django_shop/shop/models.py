from django.db import models


class Coupon(models.Model):
    """Who got which code."""

    stock_id = models.CharField(max_length=20)
    code = models.CharField(max_length=32)
    openid = models.CharField(max_length=128, null=True)

    class Meta:
        db_table = "coupon"
        constraints = [models.UniqueConstraint(fields=["stock_id", "code"], name="a_coupon_once")]
