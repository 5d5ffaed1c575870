"""What to look for in each figure, in the words of the reader who sees it for the first time."""

CURVES = (
    "Look for curves that are apart by more than their bands, and for runs that fall after their best "
    "step. The line is the interquartile mean over seeds, the band its 95 % bootstrap interval, thin "
    "lines are single runs. A band around a single run is over its evaluation episodes and says nothing "
    "of other seeds."
)
SUCCESS = (
    "Look for a rate that rises with the score: where it does not, reward is gained without the task being "
    "solved. The share of evaluation episodes that the environment itself calls a success; bands as above."
)
SCORES = (
    "Look at 'last' and 'mean of last 10' first: they are what a user gets who trains once and stops. "
    "'best' is chosen by the score itself, which nobody has offline: a wide gap to it means luck or "
    "instability. 'selected' is what the command select chose, else the smallest behaviour-cloning loss. "
    "Intervals are across seeds; a single run has none."
)
PROFILES = (
    "Look for a curve that lies above another everywhere: that group is better whatever score one asks "
    "for. Curves that cross trade good runs for bad ones. Bands are pointwise 95 % intervals."
)
IMPROVEMENT = (
    "Look for intervals that stay clear of one half: only those pairs differ by more than chance. The "
    "value is the share of pairs of runs, one from each group, in which the first scores higher; ties "
    "count half."
)
ONLINE = (
    "Look at the drop, the deepest fall below the offline policy's score, and at the gain it bought. "
    "Regret is the mean shortfall below the score before, over the environment steps; the gap is the mean "
    "shortfall below the best score that any of these runs reached."
)
ROWS = (
    "Look for how fast the new episodes take over. Each layer is the share of all rows learned from so "
    "far that came from one source of episodes."
)
AGES = (
    "Look at the newest quarter: drawing each step alike gives it a fourth of the draws. The quarters are of "
    "the steps of all live episodes in the order in which they came; offline ones came first."
)
STALENESS = (
    "Look for a line that stays level: priorities are then set about as often as they age. A line that rises "
    "says that most episodes are ranked by TD errors of a critic long gone; a smaller refresh or more floor "
    "renews them."
)
TD = (
    "Look for a level that settles. A TD error that rises while the score falls is a critic that "
    "diverges; one near zero from the start has nothing left to learn from this data."
)
BC = (
    "Look for the lowest point: behaviour cloning that gets worse later has drifted away from the data. "
    "The offline selection takes its policy by this loss."
)
HELD_OUT_BC = (
    "Look for the step from which the line of held-out episodes rises while that of episodes learned from "
    "still falls: from there the policy learns its data by heart. Both are the loss that the agent trains, "
    "on windows that never change."
)
HELD_OUT_LIKELIHOOD = (
    "Look for the step from which the line of held-out episodes falls while that of episodes learned from "
    "still rises. Of a Gaussian policy it is the log density of the data's actions, of a diffusion policy a "
    "lower bound of it: compare policies of one agent and one schedule alone."
)
HELD_OUT_TD = (
    "Look for a gap that opens: the critic then fits the targets of the episodes it learned from and not of "
    "others. Both lines are |Q - y| on windows that never change."
)
HELD_OUT_BIAS = (
    "Look for a line that leaves zero for good: the critic values the data's actions above (or below) what "
    "followed them, more and more. A critic of a policy better than the data's may lie above, and does so on "
    "both lines."
)
HELD_OUT_RMSE = (
    "Look for a gap between the lines: an error on held-out episodes alone is a critic that learned returns "
    "by heart. Both are the root mean square of Q minus the return that followed in the data."
)
HELD_OUT_ORDER = (
    "Look for a line near 1: the critic then puts steps in the order of what followed them, whatever its "
    "bias. One near 0 knows no order, and a policy chosen by it is chosen by chance."
)
THIRDS = (
    "Look for a third that goes another way: late steps are near rewards that are known, early ones rest on "
    "values carried back over the whole episode. Each line is a third of the steps of held-out episodes."
)
EFFECTIVE = (
    "Look at how many episodes the draws are spread over: 1 / sum of squared shares of the draws so far. "
    "A low number means that a few episodes were learned from again and again."
)
CLUSTER_SHARES = (
    "Look for layers of even height (balanced sampling), or for one that takes over. Each layer is a "
    "cluster's share of all draws so far."
)
DRAWN = (
    "Look for a gap between a group's share of the steps in the data and its share of the draws: that is "
    "what the sampler changed. Equal heights mean that the policy learned from the data as it is."
)
TD_BY_EPISODE = (
    "Look for groups that stay high: the critic predicts them badly, and a priority sampler returns to "
    "them. Each point is one episode, with the mean TD error of the windows drawn from it."
)
TRAJECTORIES = (
    "Look for clusters that hold one source or one band of return: then balancing clusters balances "
    "quality. Points close together are trajectories of a similar course; colour by draws to see what was "
    "learned from."
)
STATES = (
    "Look for regions that only some clusters or sources reach, and for regions of many draws. Each point "
    "is one state, coloured by its episode or by the cluster of states that a critic judges rows within."
)
Q_HEAT = (
    "Look for where the critic's peak lies beside the data's action and the policy's: a peak in a corner "
    "that no data reaches is a critic that extrapolates. All other action dimensions stay at the data's "
    "action."
)
Q_SPREAD = (
    "Look for policy actions that are valued above the data's, but not beyond the best of random actions: "
    "far above both means that the policy exploits the critic. One column per state."
)
CALIBRATION = (
    "Look for points along the diagonal: the critic then values what happened. Far above it the critic is "
    "too hopeful, far below too careful. Returns are those of the data's own actions, which a better "
    "policy beats."
)
VIDEOS = (
    "Look at what tells the best from the median and the worst: a late start, a fall, a missed grasp. The "
    "episodes are those of the last evaluation, run again from the same seeds."
)
N_STEP = (
    "Look for the n from which the bias is near zero: a longer horizon leans more on the data's rewards "
    "and less on the critic. n = 0 is the critic alone. The band is a 95 % interval over steps of the "
    "data."
)
RUNS = (
    "Look at 'last' and 'mean of last 10' before 'best', which is an oracle. Intervals are over the "
    "evaluation episodes of one run: they say nothing of other seeds."
)
SETTINGS = (
    "Look for settings that differ without your meaning them to: then a difference in score is not due to "
    "what you changed."
)
VERSIONS = "Look for runs made with other versions or on other data (data_fingerprint) than the rest."
HISTOGRAM = (
    "Look for separate humps: they are kinds of behaviour, which a sampler can tell apart. A long tail of "
    "poor episodes is what uniform sampling spends its time on."
)
COUNTS = (
    "Look for the lowest point: that number of clusters is chosen. A flat line means that the number "
    "hardly matters for how alike the returns within a cluster are."
)
Q_BY_SOURCE = (
    "Look for sources whose values lie apart: only then can Q tell good data from bad. Where they lie on "
    "top of one another a threshold on Q chooses at random."
)
AUROC = (
    "Look for a rise above one half, which is what guessing gives: the probability that a step of the best "
    "source is valued above a step of another."
)
BALANCED = (
    "Look for a rise above one half, which is what guessing gives: the mean of how many good steps are "
    "called good and how many others are not."
)
AGGREGATE = (
    "Look here for one answer over all environments: the mean of the middle half of all runs, resampled "
    "within each environment. A group that ran in fewer environments is not comparable with the others."
)
CHOICES = (
    "Look at regret: how far the first choice of a criterion that needs no environment scores below the "
    "best policy that was kept. A rank correlation near 1 means that it puts policies in the right order, "
    "one near 0 that it might as well draw. 'beats_last' is what it must do to be worth the trouble."
)
CRITERION = (
    "Look for policies whose bands do not overlap: only those the criterion can separate with ease. Bands "
    "are 95 % intervals over start states and networks; differences between policies are known more finely."
)
CRITERION_SCORE = (
    "Look for points that rise together: then the criterion could have stood in for the environment. A cloud "
    "without a slope says that it could not, for this run."
)
REWARDS = (
    "Look for where reward is earned: all the way, or at one step near the end. A single step that outweighs "
    "all others is either the goal or an error of the recording."
)
RETURN_SO_FAR = "Look for stretches without gain: nothing is learned from them but how to leave them."
ACTIONS = (
    "Look for lines that lie on an edge of the box for long: a policy with tanh outputs imitates them badly. "
    "Lines that jump at every step are noise of the recording policy."
)
OBSERVATIONS = (
    "Look for jumps between two steps, which are resets that nobody flagged, and for lines that never move, "
    "which tell a network nothing."
)
SAMPLES = (
    "Look for where good and poor episodes part: a sampler can favour what comes before. Five episodes from "
    "the least return to the most, evenly apart in rank."
)
FACTS = (
    "Look at the fingerprint before you compare results: two stores with the same one hold the same episodes."
)
BY_SOURCE = (
    "Look for sources whose returns lie apart, and for one that holds most of the steps: uniform sampling "
    "learns mostly from that one."
)
RETURN_BY_LENGTH = (
    "Look for a line through zero, where return is the time survived, and for groups that earn more in the "
    "same time. Each point is one episode."
)
NUMBERS_OF_COLUMNS = (
    "Look for dimensions whose std is 0, which tell nothing, and for ranges a thousand times those of "
    "others, which drown them unless observations are normalised."
)
CLUSTERS_OF_DATA = (
    "Look for a cluster of high return and few episodes: balanced sampling draws it as often as the others."
)
DOCTOR = (
    "Look at errors (E) before anything is trained; warnings (W) are what to know first, notes (I) change "
    "nothing. `store doctor X.h5 --fix` mends what can be mended without guessing."
)
EDITS = "Look at what was dropped: results on edited data do not compare with those on the original."
LENGTHS = (
    "Look for a pile at one length: that is a time limit, and its episodes should be truncated, not "
    "terminated. Short episodes beside it are failures, or quick successes."
)
TRAJECTORIES_OF_DATA = (
    "Look for clusters that hold one source or one band of return: then balancing clusters balances quality. "
    "Points close together are trajectories of a similar course."
)
BRIGHTNESS = (
    "Look for a line that stands still while the robot moves, which is a camera that froze, and for jumps, "
    "which are frames that were lost."
)
FRAMES = (
    "Look for frames that are black, upside down or of another scene than the rest. Frames are evenly apart, "
    "the first and the last of an episode among them."
)
WINDOWS = (
    "Look at what the frames on either side have in common: that is what this run learned from most, and "
    "least. A window is shown from the first frame of its history to the frame whose value its target takes; "
    "an episode gives one window to a side at most. Of an online run the last episodes had little time."
)
