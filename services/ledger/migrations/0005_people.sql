-- Who may do what, where.
CREATE TABLE role_binding (
    account text NOT NULL,
    subject text NOT NULL,
    role text NOT NULL,
    PRIMARY KEY (account, subject, role)
);
CREATE INDEX role_binding_subject ON role_binding (subject);

-- People who showed a token: what is done later on their behalf goes by what they are bound to then.
CREATE TABLE person (
    id text PRIMARY KEY,
    issuer text NOT NULL,
    sub text NOT NULL,
    names text[] NOT NULL,
    seen timestamptz NOT NULL
);
