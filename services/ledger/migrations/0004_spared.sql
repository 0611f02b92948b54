-- What the settlement would have cost had the strongest model answered, where settings name one. A table of its own: replicas of the
-- release before know the columns of `entry` by heart.
CREATE TABLE spared (
    reservation_id uuid   PRIMARY KEY REFERENCES entry ON DELETE CASCADE,
    baseline       bigint NOT NULL
);
