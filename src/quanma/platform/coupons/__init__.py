"""What the platform decides about stocks, codes and coupons: functions of values, and no store. Time is an argument."""
