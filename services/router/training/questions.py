"""Our own questions for the classifier of subjects, as people ask them: exam questions alone would teach it exams.

Every fourth is kept out of training, and tells how good it is.
"""

from collections.abc import Iterator, Mapping, Sequence

QUESTIONS: Mapping[str, Sequence[str]] = {
    "biology": (
        "How do plants turn sunlight into sugar?", "What does the mitochondrion do in a cell?", "Why do some animals hibernate?",
        "Explain how DNA is copied before a cell divides.", "What is natural selection, in simple words?", "How do bacteria become resistant to antibiotics?",
        "Why are some snakes venomous and others not?", "What is the difference between mitosis and meiosis?", "How do fish breathe under water?",
        "Which enzymes break down starch?", "What makes a species go extinct?", "How does a seed know when to sprout?",
        "Describe the food chain in a pond.", "What is the role of RNA in making proteins?", "Why do leaves change colour in autumn?",
        "How do bees find their way back to the hive?", "What are stem cells good for in an embryo?", "Tell me about the evolution of whales.",
        "How are traits passed from parents to offspring?", "What is the purpose of chlorophyll?", "Why do coral reefs bleach when the sea gets warm?",
        "How do vaccines teach white blood cells?", "What lives at the bottom of the ocean without light?", "How does a genome get sequenced?",
    ),
    "business": (
        "How do I write a business plan for a bakery?", "What is a good margin for an online shop?", "Draft a pitch for investors of our start-up.",
        "How should we set the price of a subscription?", "What is the difference between marketing and sales?", "Explain double-entry bookkeeping to me.",
        "How do I motivate a team that lost its manager?", "Give me ideas for a loyalty programme.", "What belongs on a balance sheet?",
        "How do we measure customer satisfaction?", "Write a job description for a sales lead.", "What is the return on equity of a company with these figures?",
        "How do I run a good performance review?", "Which channels should we advertise a new shoe on?", "What is supply chain management?",
        "How can we lower the churn of our customers?", "Should we lease or buy our delivery vans?", "What does a SWOT analysis of a gym look like?",
        "How do I handle an unhappy client?", "Make an agenda for the quarterly sales meeting.", "What is depreciation in accounting?",
        "How do we enter the market in Poland?", "Explain what a franchise is.", "How do I calculate the break-even point of my cafe?",
    ),
    "chemistry": (
        "Why does salt melt ice?", "What happens when an acid meets a base?", "Balance the equation for burning methane.",
        "How many electrons does carbon share?", "What is the pH of lemon juice and why?", "Explain covalent and ionic bonds.",
        "Why does iron rust?", "What is a catalyst?", "How do I compute the molarity of a solution?", "What gas forms when zinc meets hydrochloric acid?",
        "Why do metals conduct electricity?", "What is an isotope of hydrogen?", "How is ammonia made in a factory?", "What does titration tell us?",
        "Why is water a polar molecule?", "Which elements are noble gases?", "How do soaps dissolve grease?", "What is oxidation, and what is reduction?",
        "How does a polymer differ from its monomer?", "What is the boiling point of ethanol?", "Why do fireworks have different colours?",
        "Explain Le Chatelier's principle.", "What is an ester and what does it smell like?", "How are crystals grown from a solution?",
    ),
    "computer science": (
        "Write a Python function that reverses a list.", "What is the difference between a stack and a queue?", "How does a hash table handle collisions?",
        "Why is my SQL query slow?", "Explain what a compiler does.", "How do I undo the last commit in git?", "What is a race condition?",
        "How does TLS keep a connection secret?", "Fix this TypeScript error: property does not exist on type.", "What is the complexity of quicksort?",
        "How do neural networks learn from data?", "Set up a Docker container for a web server.", "What is a pointer in C?",
        "How do I parse JSON in Go?", "Explain recursion with an example in code.", "What does an operating system do with memory pages?",
        "How do I make this API endpoint idempotent?", "What is SQL injection, and how is it prevented?", "Design a cache that evicts the oldest entry.",
        "How does a browser render a page?", "What is overfitting in machine learning?", "Write a regular expression for a date.",
        "How do two threads share a variable safely?", "Explain how public key encryption works.",
    ),
    "economics": (
        "Why do central banks raise interest rates?", "What causes inflation?", "Explain supply and demand with bread.", "What is the gross domestic product?",
        "How does a tariff change the price of imports?", "What happens to wages when unemployment falls?", "Why do rents rise where houses are scarce?",
        "What is a public good?", "How does a monopoly set its price?", "What is the difference between fiscal and monetary policy?",
        "Why did the currency lose its value?", "What is the elasticity of demand for petrol?", "How do exchange rates touch exports?",
        "What is comparative advantage?", "Does a minimum wage cost jobs?", "What is the opportunity cost of going to college?",
        "Explain quantitative easing.", "How does a recession begin?", "What is the Gini coefficient of a country?", "Why are some countries poor and others rich?",
        "What is a trade deficit?", "How do subsidies shift the market?", "What does the Phillips curve say?", "How is the consumer price index put together?",
    ),
    "engineering": (
        "How thick must a beam be to carry two tons?", "What does a transformer do with voltage?", "Design a circuit with an LED and a resistor.",
        "How does a heat pump warm a house?", "Why do bridges need expansion joints?", "What is the difference between AC and DC motors?",
        "How do I size a pump for a well?", "Explain how a gearbox changes torque.", "What is a PID controller?", "How strong is reinforced concrete?",
        "Why do turbines have so many blades?", "How do I read a wiring diagram?", "What is fatigue in a metal part?", "How does an operational amplifier work?",
        "Which screw thread stands vibration best?", "How is a building made safe for earthquakes?", "What does a capacitor do in a power supply?",
        "How do I calculate the load on this truss?", "Why does a jet engine need a compressor?", "How do you weld aluminium?",
        "What tolerance should a bearing have?", "How does a solar inverter feed the grid?", "Explain the bandwidth of a filter circuit.",
        "What insulation does a pipeline need?",
    ),
    "health": (
        "What helps against a sore throat?", "Can I take ibuprofen with my blood pressure pills?", "What are the symptoms of diabetes?",
        "How much sleep does a teenager need?", "Is this mole something a doctor should see?", "What does a high cholesterol value mean?",
        "How do I lower my blood pressure without medicine?", "What is the usual dose of paracetamol for a child?", "Why does my knee hurt after running?",
        "Which vaccines does a baby get?", "What are the side effects of antidepressants?", "How is asthma treated?", "Is a fever of 39 dangerous?",
        "What should a patient eat after surgery?", "How do I recognise a stroke?", "What is good for a bad back?", "How long is the flu contagious?",
        "Which vitamins are needed in pregnancy?", "What does the nurse do before a blood test?", "How does the virus spread from person to person?",
        "My chest feels tight, what could it be?", "What is the treatment for anaemia?", "Are migraines inherited?", "How do I bandage a burn?",
    ),
    "history": (
        "Why did the Roman empire fall?", "Who fought in the Thirty Years' War?", "What led to the French Revolution?", "When was the Berlin Wall built?",
        "How did the plague change Europe?", "Who was the first emperor of China?", "What was life like in ancient Egypt?", "Why did the American colonies rebel?",
        "Tell me about the Silk Road.", "What happened at the Congress of Vienna?", "How did the Vikings reach America?", "Why did the First World War break out?",
        "Who built Machu Picchu?", "What was the Cold War about?", "How did slavery end in Brazil?", "What did Napoleon change in law?",
        "When did people begin to farm?", "Who were the Ottomans?", "What was the Meiji restoration?", "Why was the Magna Carta written?",
        "How did the printing press change society in the 15th century?", "What tools did people of the Bronze Age have?", "Who was Cleopatra?",
        "What was the Marshall Plan?",
    ),
    "law": (
        "Can my landlord evict me without notice?", "What is the difference between a crime and a tort?", "Is a verbal contract binding?",
        "How do I appeal a court decision?", "What are my rights when the police stop me?", "Review this non-disclosure clause.",
        "Who owns the copyright of a photo taken at work?", "What does the GDPR say about consent?", "How is child custody decided?",
        "Can I sue a company for false advertising?", "What is the statute of limitations for fraud?", "Write a termination clause for a service agreement.",
        "What must a will contain to be valid?", "Is it legal to record a phone call?", "How do I register a trademark?",
        "What does liability mean in this lease?", "What is habeas corpus?", "Can an employer dismiss someone who is ill?",
        "What does international law say about the sea?", "How does a jury reach its verdict?", "What is a power of attorney?",
        "When is self-defence lawful?", "Which treaty governs refugees?", "Does the warranty cover this under consumer law?",
    ),
    "math": (
        "What is the derivative of x squared?", "Solve 3x + 7 = 22.", "How many ways can eight people sit in a row?", "What is 17 percent of 340?",
        "Prove that there are infinitely many primes.", "What is the area of a circle with radius 5?", "Find the integral of sin x.",
        "If a train goes 120 km in 90 minutes, how fast is it?", "What is the probability of two heads in three throws?", "Factor x^2 - 5x + 6.",
        "What is an eigenvalue of a matrix?", "Round 3.14159 to two decimals.", "What is the median of 3, 9, 4 and 12?", "How do I add fractions?",
        "What is the sum of the angles in a hexagon?", "Anna has 12 apples and gives away a third. How many are left?", "Compute 48 divided by 0.6.",
        "What is the greatest common divisor of 84 and 126?", "Explain the standard deviation of a sample.", "Find the limit of 1/n.",
        "How many digits does 2 to the 100th have?", "Is the series 1/n convergent?", "What is the slope of the line through these points?",
        "A shirt costs 40 dollars after a discount of 20 percent. What did it cost before?",
    ),
    "philosophy": (
        "Is it ever right to lie?", "What did Kant mean by the categorical imperative?", "Do we have free will?", "What is utilitarianism?",
        "Explain Plato's cave.", "Is a sentence that says it is false true?", "What makes a life good, according to Aristotle?",
        "Can machines be conscious?", "What is the trolley problem?", "Does morality need religion?", "What did Descartes doubt?",
        "What is existentialism about?", "Is abortion morally permissible?", "Which fallacy is in this argument?", "What do Buddhists teach about the self?",
        "How do we know that we know something?", "Do animals have moral rights?", "What did Nietzsche mean by the death of God?",
        "Is beauty in the eye of the beholder?", "What is the social contract in Hobbes?", "Explain the problem of evil.",
        "Is it wrong to eat meat?", "What is epistemology?", "What would a Stoic do about anger?",
    ),
    "physics": (
        "Why is the sky blue?", "How fast does a stone fall after three seconds?", "What is a black hole?", "Explain Newton's third law.",
        "How does a magnet attract iron?", "What is the speed of light in glass?", "Why do satellites not fall down?", "What is quantum entanglement?",
        "How much energy is in a lightning bolt?", "What makes a rainbow?", "Why does time slow down near a heavy mass?", "What is the momentum of a moving car?",
        "How do stars burn?", "What is the difference between mass and weight?", "Why does a pendulum swing back?", "How is sound carried through air?",
        "What is entropy in thermodynamics?", "How does a lens bend light?", "What is the wavelength of red light?", "What are quarks?",
        "How far away is the nearest galaxy?", "What is the force on a charge in a magnetic field?", "Why does ice float?", "How do planets keep their orbits?",
    ),
    "psychology": (
        "Why do I put things off?", "What is cognitive dissonance?", "How do children become attached to their parents?", "What did Freud say about dreams?",
        "How can I stop worrying at night?", "What is classical conditioning?", "Why do people follow a crowd?", "How is anxiety treated in therapy?",
        "What is an introvert?", "How does memory fade with age?", "What is burnout and how is it recognised?", "Why are habits hard to break?",
        "What does an IQ test measure?", "How do I support a friend in grief?", "What is the bystander effect?", "What motivates people at work?",
        "How do babies learn to speak?", "What is a narcissist?", "Does punishment change behaviour?", "What is emotional intelligence?",
        "How does social media touch self-esteem?", "What are the stages of development in Piaget?", "Why do we forget names?", "What is attention deficit?",
    ),
    "other": (
        "Write a birthday card for my sister.", "What is a good recipe for lentil soup?", "Plan three days in Lisbon.", "Who won the football cup?",
        "Translate this sentence into Spanish.", "What is the capital of Mongolia?", "Recommend a film for tonight.", "Summarise this e-mail in two lines.",
        "How do I get wine out of a carpet?", "Write a poem about rain.", "What is the longest river in Africa?", "Make this paragraph friendlier.",
        "Good morning, how are you?", "Which guitar is good for a beginner?", "Give me names for a grey cat.", "How many people live in Canada?",
        "Tell me a joke about penguins.", "What should I wear to a wedding?", "Where is my parcel?", "I want to change my delivery address.",
        "How do I knit a scarf?", "Who wrote that song about the river?", "Turn these notes into a list.", "Thanks, that was all.",
    ),
}  # fmt: skip


def questions(*, held_out: bool) -> Iterator[tuple[str, str]]:
    """(text, subject) pairs."""
    for subject, texts in QUESTIONS.items():
        for n, text in enumerate(texts):
            if (n % 4 == 3) == held_out:
                yield text, subject
