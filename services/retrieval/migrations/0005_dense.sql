-- What the dense vectors of each generation are made by: those of two models never compare.
CREATE TABLE dense (generation text PRIMARY KEY, model text NOT NULL);
