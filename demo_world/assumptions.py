"""The numbers that make the world an ads world, each with its reason.

They were set by what is plausible for display and social ads, before any model was trained on the world.
Visits a month and the catalogue's size (`WorldSizes`) were then raised within that range, so that the graph of
the default world has about a million edges.
"""

# Latent interests.
DIMENSION = 16
USER_TOPICS = 3  # a person follows a few topics, not one
USER_SPREAD = 0.5  # personal taste beside the topics, as a fraction of a topic's norm
ADVERTISER_SPREAD = 0.5
ITEM_SPREAD = 0.5
PIN_SPREAD = 0.35  # a creative resembles the item it promotes
OFF_TOPIC_ITEMS = 0.15  # share of a merchant's items outside its main topic

# Heavy tails, as standard deviations of log-normal laws.
ACTIVITY_SIGMA = 1.2  # onsite requests: the busiest 1 % make about an eighth of the traffic
PIN_POPULARITY_SIGMA = 1.4  # budgets of ads differ by orders of magnitude
ITEM_APPEAL_SIGMA = 1.2
ADVERTISER_SIZE_SIGMA = 1.0
TOPIC_EXPONENT = 0.7  # Zipf: topics are less unequal than ads

# Serving policy.
CANDIDATES = 8  # what retrieval hands to the auction: half by popularity, half by the user's topics
BID_SIGMA = 0.5  # between advertisers
PACING_SIGMA = 0.3  # between an advertiser's own requests
POLICY_AFFINITY = 0.5  # the production model sees half of the true affinity,
POLICY_POPULARITY = 0.3  # believes popular ads to be better than they are,
POLICY_NOISE = 0.4  # and errs

# Response to an impression. Rates hold for the traffic the policy serves; intercepts are calibrated to them.
CTR = 0.01  # social and display ads: 0.5 to 1.5 %
SAVE_RATE = 0.003
HIDE_RATE = 0.001
CLICK_AFFINITY = 3.0
SAVE_AFFINITY = 4.0
HIDE_AFFINITY = -2.0
CLICK_PROPENSITY_SIGMA = 0.45  # some people click on more
PIN_QUALITY_SIGMA = 0.4
POSITIONS = 5
POSITION_EFFECT = -0.15  # a step down the feed
HOUR_EFFECT = 0.1
FORMAT_EFFECTS = (0.0, 0.15, 0.1)  # image, video, carousel
DEVICE_EFFECTS = (0.0, 0.05, -0.1)  # android, ios, web
LONG_CLICK_BASE = -1.6  # with affinity 0.5 a third of the clicks stays for 30 s
LONG_CLICK_AFFINITY = 2.0

# Conversion after a click, within the attribution window.
CVR = 0.08  # retail landing pages: 2 to 10 %
ATTRIBUTION_DAYS = 7
CONVERSION_AFFINITY = 3.0
CONVERSION_INTENT = 0.6
CONVERSION_APPEAL = 0.3
CONVERSION_DELAY_MEDIAN = 4 * 3600  # s; most orders come the same day, some days later
CONVERSION_DELAY_SIGMA = 1.5

# Offsite journeys.
VISITS_PER_MONTH = 40.0  # mean; the median person makes about 25, not one tracked page a day
VISIT_INTENT = 0.5  # shoppers browse more,
VISIT_ACTIVITY = -0.45  # people who rarely come to the site browse elsewhere,
VISIT_SIGMA = 0.7  # and the rest is chance
VISIT_CANDIDATES = 4  # one by popularity, the rest by the person's topics
VISIT_AFFINITY = 5.0  # own searches follow interests more closely than ads do
CLICK_VISIT_RATE = 0.7  # clicks whose landing page fires the tag
CART_RATE = 0.13  # at purchase intent 0 and typical affinity; intent brings the mean to about 15 %
CART_INTENT = 0.5
CART_AFFINITY = 1.0
TYPICAL_AFFINITY = 0.6
CHECKOUT_RATE = 0.27
CHECKOUT_INTENT = 0.4
SIGNUP_RATE = 0.04
CART_DELAY_MEAN = 15 * 60
CHECKOUT_DELAY_MEDIAN = 6 * 3600
CHECKOUT_DELAY_SIGMA = 1.5
SERVICE_ADVERTISERS = 0.2  # their conversion is a sign-up, not a checkout

# People.
OPT_IN = 0.7
COUNTRIES = {"US": 0.4, "DE": 0.15, "GB": 0.15, "BR": 0.15, "IN": 0.1, "JP": 0.05}
DEVICES = {"android": 0.5, "ios": 0.35, "web": 0.15}
AGE_BUCKETS = {"18-24": 0.22, "25-34": 0.3, "35-44": 0.22, "45-54": 0.14, "55+": 0.12}
AD_FORMATS = {"image": 0.6, "video": 0.25, "carousel": 0.15}
RECENT = 20  # length of the recent-pin and recent-item lists
