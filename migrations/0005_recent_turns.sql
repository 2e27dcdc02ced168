-- Whoever takes partitions over looks for open turns among the recent ones, some minutes at a time. A BRIN index gives every
-- page that it has not summed up yet to each of these looks, so that a takeover after much work read all of that work more
-- than a hundred times. This one gives the turns of some partitions and minutes, and nothing else.
drop index turns_recent;
create index turns_recent on turns (partition, created_at);
