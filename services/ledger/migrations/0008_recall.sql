-- Budgets of which a replica would refuse what others have leased and do not use: until then they are leased by the request, and
-- what is idle comes back.
CREATE TABLE recall (
    account text        NOT NULL,
    name    text        NOT NULL,
    until   timestamptz NOT NULL,
    PRIMARY KEY (account, name)
);
