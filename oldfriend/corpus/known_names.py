"""First names and places of this world: people say those more often than any invented one.

Which of them is for training and which for tests is told by ``names.split_of``, as for others.
"""

PEOPLE = """
    Abdul Abigail Adam Adele Adriana Agnes Ahmed Aisha Alan Albert Alejandro Alex Alexander Alfie
    Alice Alina Alison Amanda Amelia Amina Amir Amy Ana Andrea Andreas Andrew Angela Anika Anita
    Anna Anne Anthony Antonio Arjun Arthur Astrid Aubrey Audrey Ava Barbara Beatrice Ben Benjamin
    Bernard Beth Bianca Bill Bjorn Bob Brandon Brenda Brian Bridget Bruno Callum Camila Carla
    Carlos Carmen Caroline Catherine Cecilia Charles Charlie Charlotte Chen Chiara Chloe Chris
    Christina Christopher Clara Claire Colin Connor Craig Cynthia Daniel Daniela David Deborah
    Denise Dennis Derek Diana Diego Dimitri Dmitri Donna Dorothy Doug Dylan Edith Edward Elena Eli
    Elias Elif Elizabeth Ella Ellen Emil Emily Emma Enrique Eric Erika Esther Ethan Eva Evan Evelyn
    Fatima Felix Fernando Fiona Francesca Frank Fred Freya Gabriel Gareth Gary George Georgia
    Gerald Giovanni Giulia Gloria Gordon Graham Greta Gunnar Gustav Hamish Hannah Harold Harriet
    Harry Hassan Heather Heidi Helen Helga Henry Hiroshi Hugo Ian Ibrahim Igor Imran Ines Ingrid
    Irene Isaac Isabel Isla Ivan Jack Jacob Jakub James Jamie Jan Jane Janet Jason Javier Jean
    Jennifer Jeremy Jessica Jim Joan Joanna Joe Johan Johannes John Jonas Jonathan Jorge Jose
    Joseph Joshua Juan Judith Julia Julian Julie Kamal Karen Karim Karl Kate Katherine Kathleen
    Keith Kelly Kenji Kenneth Kevin Khalid Kim Klaus Kofi Lars Laura Lauren Lena Leo Leon Leonie
    Leroy Lily Linda Lisa Liz Logan Lorenzo Louis Louise Luca Lucas Lucia Lucy Luis Luke Lydia
    Magda Mai Malcolm Manuel Marco Marcus Margaret Maria Marie Marina Mario Marta Martin Mary Mateo
    Matilda Matthew Max Maya Megan Mehmet Mei Melissa Mia Michael Michelle Miguel Mike Mila
    Mohammed Mona Monica Nadia Nancy Naomi Natalie Nathan Neil Niamh Nicholas Nicole Nigel Nina
    Nora Oleg Oliver Olivia Omar Oscar Otto Owen Pablo Pamela Patricia Patrick Paul Paula Pedro
    Peggy Peter Petra Phil Philip Philippa Pierre Priya Rachel Rafael Raj Ralph Raquel Rebecca
    Renata Ricardo Richard Rita Robert Roberto Robin Rohan Roland Ronald Rosa Rosie Ruth Ryan
    Sabine Sally Sam Samantha Samuel Sandra Sanjay Sara Sarah Scott Sean Sergio Shane Sharon Sheila
    Simon Simone Sofia Sonia Sophie Stefan Stella Stephanie Stephen Steve Stuart Susan Susanna
    Svetlana Sylvia Tamara Tanya Tara Teresa Terry Theresa Thomas Tim Timothy Tina Todd Tom Tony
    Tracy Trevor Ursula Valentina Vanessa Vera Veronica Victor Victoria Vijay Vincent Virginia
    Walter Wanda Wei Wendy William Winston Xavier Yasmin Yuki Yusuf Yvonne Zara Zoe"""

PLACES = """
    Aberdeen, Accra, Adelaide, Alicante, Amsterdam, Ankara, Antwerp, Athens, Atlanta, Auckland,
    Austin, Bangkok, Barcelona, Basel, Bath, Beijing, Beirut, Belfast, Belgrade, Bergen, Berlin,
    Bern, Bilbao, Birmingham, Bogota, Bologna, Bonn, Bordeaux, Boston, Bradford, Bratislava,
    Bremen, Brighton, Brisbane, Bristol, Brussels, Bucharest, Budapest, Buenos Aires, Cairo,
    Calgary, Cambridge, Canberra, Cape Town, Cardiff, Casablanca, Chennai, Chester, Chicago,
    Cologne, Copenhagen, Cork, Coventry, Dallas, Delhi, Denver, Derby, Detroit, Dortmund, Dresden,
    Dubai, Dublin, Dundee, Durham, Edinburgh, Exeter, Florence, Frankfurt, Galway, Gdansk, Geneva,
    Genoa, Ghent, Glasgow, Gothenburg, Granada, Graz, Halifax, Hamburg, Hanoi, Hanover, Havana,
    Helsinki, Hong Kong, Houston, Innsbruck, Istanbul, Jakarta, Jerusalem, Johannesburg, Krakow,
    Kyiv, Kyoto, Lagos, Lausanne, Leeds, Leicester, Leipzig, Lille, Lima, Limerick, Linz, Lisbon,
    Liverpool, Ljubljana, London, Los Angeles, Lyon, Madrid, Malaga, Malmo, Manchester, Manila,
    Marseille, Melbourne, Memphis, Mexico City, Miami, Milan, Minneapolis, Montreal, Moscow,
    Mumbai, Munich, Nairobi, Nantes, Naples, Nashville, New Orleans, New York, Newcastle, Norwich,
    Nottingham, Odessa, Osaka, Oslo, Ottawa, Oxford, Palermo, Paris, Perth, Philadelphia, Phoenix,
    Plymouth, Portland, Porto, Portsmouth, Prague, Preston, Quebec, Reykjavik, Riga, Rio, Rome,
    Rotterdam, Salzburg, San Diego, San Francisco, Santiago, Sarajevo, Seattle, Seoul, Seville,
    Shanghai, Sheffield, Singapore, Southampton, Stockholm, Strasbourg, Stuttgart, Swansea, Sydney,
    Tallinn, Tampere, Tbilisi, Tel Aviv, Tokyo, Toronto, Toulouse, Trieste, Turin, Utrecht,
    Valencia, Vancouver, Venice, Verona, Vienna, Vilnius, Warsaw, Washington, Wellington, Winnipeg,
    Worcester, York, Zagreb, Zurich"""
