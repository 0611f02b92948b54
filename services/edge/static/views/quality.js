// What candidates are worth: shadows and their verdicts, runs over datasets, and models that have begun to answer otherwise.

import { all, get } from "../api.js";
import { card, count, day, el, table, usd } from "../dom.js";

export const every = 10;
const TONES = { better: "good", worse: "bad" };
const word = (verdict) => el("span", { className: TONES[verdict] ?? "" }, verdict);
const three = (value) => value.toFixed(3);

const said = (rows) => {
  const mean = rows.reduce((sum, one) => sum + one.feedback.score, 0) / (rows.length || 1);
  return `the latest ${count(rows.length)} score ${mean.toFixed(2)} on average, from -1 to 1`;
};

export async function show() {
  const [shadows, runs, probes, feedback] = await Promise.all([
    all("/tollway/v1/shadows"), get("/tollway/v1/runs", { limit: 50 }), all("/tollway/v1/probes"),
    get("/tollway/v1/feedback", { limit: 200 }),
  ]);
  const reports = await Promise.all(shadows.map((one) => get(`/tollway/v1/shadows/${one.name}`)));
  const measures = reports.flatMap((one) => one.measures.map((each) => ({ shadow: one, ...each })));
  const details = await Promise.all(runs.data.slice(0, 20).map((one) => get(`/tollway/v1/runs/${one.id}`)));
  const signals = probes.flatMap((one) => one.models.flatMap((model) =>
    (model.signals.length ? model.signals : [{ name: "", usual: 0, last: 0, evidence: 0 }]).map((each) => ({ probe: one, model, ...each }))));
  return [
    card("Shadows", table("Candidates that are asked what others answer", [
      { title: "Shadow", cell: (one) => one.shadow.name },
      { title: "Candidate", cell: (one) => one.shadow.candidate.prompt ?? one.shadow.candidate.model ?? "" },
      { title: "Measure", cell: (one) => one.name }, { title: "Verdict", cell: (one) => word(one.verdict) },
      { title: "Pairs", number: true, cell: (one) => count(one.pairs) },
      { title: "Live", number: true, cell: (one) => three(one.live) },
      { title: "Candidate's", number: true, cell: (one) => three(one.candidate) },
      { title: "More pairs", number: true, cell: (one) => one.more_pairs ?? "?" },
      { title: "Mean cost", number: true, cell: (one) => usd(one.shadow.candidate_side.cost_usd) }],
    measures, "No shadow. `tollway shadow set` begins one.")),
    card("Evaluations", table("The latest runs over datasets", [
      { title: "Begun", cell: (one) => day(one.created) }, { title: "Dataset", cell: (one) => one.dataset },
      { title: "Candidate", cell: (one) => one.candidate.prompt ?? one.candidate.model ?? "auto" },
      { title: "State", cell: (one) => one.state },
      { title: "Judged", number: true, cell: (one) => `${one.judged} of ${one.cases}` },
      { title: "Scores, 95 %", cell: (one) => one.scores.map((each) =>
        `${each.name} ${three(each.mean)} (${three(each.low)} to ${three(each.high)})`).join(", ") },
      { title: "Cost", number: true, cell: (one) => usd(one.cost_usd) }],
    details, "No run. `tollway eval run DATASET` makes one.")),
    card("Drift", table("Models that are asked the same again and again", [
      { title: "Probe", cell: (one) => one.probe.name }, { title: "Model", cell: (one) => one.model.model },
      { title: "Rounds", number: true, cell: (one) => one.model.rounds }, { title: "Watched", cell: (one) => one.name },
      { title: "Usual", number: true, cell: (one) => three(one.usual) }, { title: "Last", number: true, cell: (one) => three(one.last) },
      { title: "Evidence", number: true, cell: (one) => `${one.evidence.toPrecision(3)} of ${count(one.probe.false_alarm_every)}` },
      { title: "Alarm", cell: (one) => (one.model.alarm ? el("span", { className: "bad" }, `${day(one.model.alarmed)}: ${one.model.alarm}`) : "") }],
    signals, "No probe. `tollway probes set` begins one.")),
    card("Feedback", table(`What was said of answers: ${said(feedback.data)}`, [
      { title: "When", cell: (one) => day(one.at) }, { title: "Model", cell: (one) => one.feedback.model },
      { title: "Score", number: true, cell: (one) => el("span", { className: one.feedback.score < 0 ? "bad" : "good" }, one.feedback.score.toFixed(2)) },
      { title: "Word", cell: (one) => one.feedback.label }, { title: "Comment", cell: (one) => one.feedback.comment },
      { title: "By", cell: (one) => one.by }, { title: "Trace", cell: (one) => one.feedback.trace_id.slice(0, 12) }],
    feedback.data.slice(0, 50), "Nobody has said anything yet.")),
  ];
}
